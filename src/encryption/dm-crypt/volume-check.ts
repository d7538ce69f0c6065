import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../error/luksmith-error.js";
import { shellWord } from "../../error/shell-word.js";
import type { VolumeFile } from "../../storage/volume-file.js";
import type { MappingRequest } from "../encryption-provider.js";
import { findMapping, isOfKind, liesOn, loopOn } from "./kernel-mapping.js";
import type { KeptClaim } from "./mapping-claims.js";
import { hasHeader, otherHeader, volumeInUse } from "./mapping-error.js";
import { writerOf } from "./volume-writer.js";

/** Milliseconds between two looks, of which there are six: udev and LVM look at devices, and let them go. */
const PAUSE = 200;

/** @throws VOLUME_BUSY if something else can write to the volume, or its file has a loop device, also a moment later */
export async function refuseUsed(file: VolumeFile, request: Pick<MappingRequest, "volume">): Promise<void> {
  let use = useOf(file);
  for (let tries = 5; tries > 0 && use !== undefined; tries--) {
    await setTimeout(PAUSE);
    use = useOf(file);
  }
  if (use !== undefined) throw volumeInUse(request, use);
}

/**
 * QEMU lets a guest have the whole of a file's last sector, although the file ends within it; a loop device leaves it
 * out. @throws VOLUME_UNSUPPORTED: the guest would lose what it wrote there
 */
export function refusePartSector({ size, path }: Pick<VolumeFile, "size" | "path">): void {
  if (size % 512 === 0) return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot open volume ${path} with dm-crypt`,
    why: `it has ${size} bytes, and the kernel would leave out the ${size % 512} behind the last whole sector`,
    hint: `make its last sector whole, which changes no byte: truncate -s %512 ${shellWord(path)}`,
  });
}

/** Some kernels keep a loop device for a moment after its mapping is closed. */
function useOf(file: VolumeFile): string | undefined {
  const loop = loopOn(file);
  return loop === undefined ? writerOf(file) : `loop device ${loop} is made of it`;
}

/** The guest would see noise, and may take it for an empty disk. @throws LUKS_UUID_MISMATCH, VOLUME_UNREADABLE */
export async function refuseHeader(file: VolumeFile): Promise<void> {
  if (!(await hasHeader(file))) return;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot open volume ${file.path} as plain dm-crypt`,
    why: "it has a LUKS header",
    hint: "find out which volume the disk should have",
  });
}

/** @throws LUKS_UUID_MISMATCH, VOLUME_NOT_FOUND if what was opened for the claim is not what was meant */
export function refuseOther(claim: KeptClaim, file: VolumeFile): void {
  const mapping = findMapping(claim.name);
  if (mapping === undefined || !liesOn(mapping, file)) {
    throw new LuksmithError("VOLUME_NOT_FOUND", {
      what: `cannot open volume ${claim.volume} with dm-crypt`,
      why: "it was moved, deleted or replaced meanwhile",
    });
  }
  if (!isOfKind(mapping, claim)) throw otherHeader(claim.volume, claim.uuid);
}
