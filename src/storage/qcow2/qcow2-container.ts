import { LuksmithError } from "../../error/luksmith-error.js";
import { volumeUnreadable } from "../volume-error.js";
import type { VolumeFile } from "../volume-file.js";
import { QCOW2_HEADER_AREA, readQcow2Header } from "./qcow2-header.js";

/**
 * Where in an image's file its LUKS container begins, whatever stands there: the image's own header says it.
 * @param length bytes that the container must have at least
 * @throws VOLUME_UNREADABLE, VOLUME_UNSUPPORTED
 */
export async function containerOf(file: VolumeFile, length: number): Promise<number> {
  const image = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
  if (image.kind === "bad") throw volumeUnreadable(file.name, image.reason);
  const encryption = image.kind === "none" ? undefined : image.header.encryption;
  if (encryption?.kind === "luks" && encryption.length >= length) return encryption.offset;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot change the LUKS header of volume ${file.name}`,
    why:
      encryption?.kind === "luks"
        ? `the image has ${encryption.length} bytes for it, and it takes ${length}`
        : "it is not a qcow2 image that is encrypted with LUKS",
    hint: "see whether it is the right volume",
  });
}
