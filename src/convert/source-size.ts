import { QCOW2_HEADER_AREA, readQcow2Header } from "../storage/qcow2/qcow2-header.js";
import { wholeSectors } from "../storage/sectors.js";
import type { StorageRegistry } from "../storage/index.js";
import { VolumeFile } from "../storage/volume-file.js";
import type { SourceVolume } from "./source-volume.js";

/** Bytes that a guest sees of a volume, as its headers tell without a key. @throws VOLUME_UNREADABLE, VOLUME_NOT_FOUND */
export async function sourceSize({ volume, key }: SourceVolume, storage: StorageRegistry): Promise<bigint> {
  if (key !== undefined && key.record.encryption.format !== "plain") {
    const backend = await storage.backendFor(volume);
    const probe = await backend.probe(volume, "header");
    if (probe.kind === "luks") return await backend.guestSize(volume, probe.header);
  }
  const type = volume.kind === "block" ? "block device" : "regular file";
  await using file = await VolumeFile.open(volume.path, "read", type);
  const image = volume.format === "qcow2" && readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
  return image && image.kind === "qcow2" ? BigInt(image.header.size) : wholeSectors(BigInt(file.size));
}
