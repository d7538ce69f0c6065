import { open } from "node:fs/promises";
import { asLuksmithError } from "../../../../src/error/luksmith-error.js";
import { Steps } from "../../../fs/steps.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

/** The one argument of bridge-process.ts, as JSON. */
export interface BridgeOrder {
  /** Of a workshop that is there. */
  readonly root: string;
  readonly op: "create" | "free";
  /** The process kills itself before its n-th step, counted from 1: a command, or a change of a file. */
  readonly killedBefore: number;
}

/** One operation of the bridge in a process of its own, to be killed. Prints `done` or the error's code. */
async function main({ root, op, killedBefore }: BridgeOrder): Promise<string> {
  const workshop = new BridgeWorkshop(undefined, {}, root);
  const steps = new Steps(killedBefore);
  workshop.runner.before = () => steps.take();
  await using handle = await open("/dev/null");
  steps.count(Object.getPrototypeOf(handle) as object, ["write", "sync", "truncate"]);
  steps.countChanges(["linkSync", "renameSync", "unlinkSync", "fsyncSync"]);
  try {
    await (op === "create" ? workshop.create() : workshop.free());
    return "done";
  } catch (thrown) {
    return asLuksmithError(thrown).code;
  }
}

void main(JSON.parse(process.argv[2] ?? "") as BridgeOrder).then((ending) => console.log(ending));
