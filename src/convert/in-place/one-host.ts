import type { CommandRunner } from "../../exec/command-runner.js";
import { whyOnOtherHosts } from "../../storage/lvm/other-hosts.js";
import type { PathVolume } from "../../storage/volume.js";
import { type Subject, unsupported } from "./refusals.js";

/**
 * A guest that runs on another host would have its data moved under it: what several hosts reach is left alone, unless
 * something keeps it to one of them.
 * @param volume whose device is there @throws VOLUME_UNSUPPORTED
 */
export async function requireOneHost(
  subject: Subject,
  volume: PathVolume,
  runner: CommandRunner,
): Promise<void> {
  const why = await whyOnOtherHosts(volume, runner);
  if (why !== undefined) throw unsupported(subject, why);
}
