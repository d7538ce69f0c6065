import type { CommandRunner } from "../../exec/command-runner.js";
import { LvActivation } from "./lvm-activation.js";
import { findLv } from "./lvm-lookup.js";
import { volumeUnreadable } from "../volume-error.js";
import type { PathVolume } from "../volume.js";
import type { VolumeLocks } from "../volume-lock.js";

/**
 * Does work that opens volumes past their storage backends: logical volumes among them have their devices meanwhile, and
 * are left as they were found. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, LOCK_TIMEOUT
 */
export async function whileActive<T>(
  [volume, ...others]: readonly PathVolume[],
  ports: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
  work: () => Promise<T>,
): Promise<T> {
  if (volume === undefined) return await work();
  const rest = () => whileActive(others, ports, work);
  const { kind, path } = volume;
  const found = kind === "block" ? await findLv(ports.runner, path) : undefined;
  if (found === undefined) return await rest();
  if (found.kind === "refused") throw volumeUnreadable(path, found.reason);
  const activation = await new LvActivation(ports.runner, ports.locks).use(path, found.lv);
  try {
    return await rest();
  } finally {
    await activation[Symbol.asyncDispose]();
  }
}
