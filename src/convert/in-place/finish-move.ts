import { LUKS_HEADER_BLOCK, PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { type Progress, signpostAt, SIGNPOST_CORE, UNIT } from "./geometry.js";
import type { MovedVolume } from "./moved-volume.js";

/**
 * Gives a volume whose payload is encrypted its LUKS header. Killed at any instruction it is done again: the signpost
 * stands until the header does, and the older ones go before it.
 * @param header to the payload; its keyslots end before UNIT
 * @param prove throws unless the passphrase opens the container
 */
export async function writeHeader(
  volume: MovedVolume,
  progress: Progress,
  header: Buffer,
  prove: () => Promise<void>,
): Promise<void> {
  const newest = signpostAt(progress);
  await volume.write(LUKS_HEADER_BLOCK, header.subarray(LUKS_HEADER_BLOCK, UNIT));
  await volume.flush();
  await volume.write(0, header.subarray(0, LUKS_HEADER_BLOCK));
  await volume.flush();
  await prove();
  await volume.write(newest + SIGNPOST_CORE, header.subarray(newest + SIGNPOST_CORE));
  await volume.flush();
  await volume.write(newest, header.subarray(newest, newest + SIGNPOST_CORE));
  await volume.flush();
}

/** Overwrites what lies behind a payload that is decrypted, the newest signpost last, where the volume cannot be cut. */
export async function zeroTail(volume: MovedVolume, progress: Progress): Promise<void> {
  const { payload } = progress;
  const newest = signpostAt(progress);
  const end = Math.min(payload + PAYLOAD_OFFSET, volume.size);
  await volume.write(payload, Buffer.alloc(newest - payload));
  await volume.write(newest + SIGNPOST_CORE, Buffer.alloc(end - newest - SIGNPOST_CORE));
  await volume.flush();
  await volume.write(newest, Buffer.alloc(SIGNPOST_CORE));
  await volume.flush();
}
