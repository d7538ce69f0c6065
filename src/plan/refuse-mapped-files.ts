import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import { guestWord } from "./commands.js";
import type { Plan } from "./step.js";

/**
 * For an incoming migration: the kernel reads an image file for its mapping through its own cache, which the source's
 * last writes do not pass, and which QEMU does not drop since it sees a block device.
 * @throws VOLUME_UNSUPPORTED: the guest runs on at its source
 */
export function refuseMappedFiles(guest: Guest, { stages }: Plan): void {
  for (const step of stages.flat()) {
    if (step.kind !== "open-mapping" || step.volume.kind !== "file") continue;
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `cannot take over guest ${guest.name}: disk ${step.disk} is an image file that dm-crypt opens`,
      why: "this host could read what the file held before the source wrote to it",
      hint: `let QEMU open it: shut the guest down, then luksmith protect ${guestWord(guest)} --engine native`,
    });
  }
}
