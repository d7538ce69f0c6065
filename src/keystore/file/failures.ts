import { LuksmithError } from "../../error/luksmith-error.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { hintForRefusal } from "../../fs/write-refusal.js";

/** `work`'s result; a system error that it throws becomes KEYSTORE_WRITE_FAILED. `task`: `cannot store key …`. */
export async function writing<T>(task: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("KEYSTORE_WRITE_FAILED", {
      what: task,
      why: failure.text,
      ...hintForRefusal(failure),
      cause: thrown,
    });
  }
}

/** `work`'s result; a system error that it throws becomes NOT_PERMITTED or KEYSTORE_UNAVAILABLE. */
export async function reading<T>(task: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    const text = { what: task, why: failure.text, cause: thrown };
    if (failure.code !== "EACCES") throw new LuksmithError("KEYSTORE_UNAVAILABLE", text);
    throw new LuksmithError("NOT_PERMITTED", { ...text, hint: "run luksmith as root" });
  }
}
