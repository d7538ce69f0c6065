import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { whyOnOtherHosts } from "../storage/lvm/other-hosts.js";
import { type Volume, volumeName } from "../storage/volume.js";

/**
 * Lets a header be written to a block device only if no guest of another host can have it open: no lock keeps it off
 * there. @throws VOLUME_BUSY
 */
export async function refuseOtherHosts(volume: Volume, runner: CommandRunner): Promise<void> {
  const why = await whyOnOtherHosts(volume, runner);
  if (why === undefined) return;
  throw new LuksmithError("VOLUME_BUSY", {
    what: `cannot restore the LUKS header of ${volumeName(volume)}`,
    why,
    hint: "look there; once no other host has it open: --only-this-host-uses-it",
  });
}
