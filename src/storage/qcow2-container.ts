import { writeSync } from "node:fs";
import type { LuksFormatter } from "../encryption/luks-formatter.js";
import { LUKS_HEADER_BLOCK, type LuksHeader } from "../encryption/luks-header.js";
import type { Secret } from "../secret/secret.js";
import { openMemoryFile } from "../secret/secret-file.js";
import type { VolumeFile } from "./volume-file.js";

/** cryptsetup wants a payload behind the header, which a container inside qcow2 does not have. */
const PAYLOAD = 1024 * 1024;

/** The LUKS header inside a qcow2 image, and where in the file it stands. */
export interface Qcow2Container {
  readonly header: LuksHeader;
  readonly container: number;
}

/** Whether `passphrase` opens a keyslot of the container inside a qcow2 image, tried on a copy in memory. */
export async function tryContainer(
  formatter: LuksFormatter,
  file: VolumeFile,
  { header, container }: Qcow2Container,
  passphrase: Secret,
): Promise<"opens" | "rejected"> {
  using copy = openMemoryFile(header.payloadOffset + PAYLOAD);
  const pieces = [
    { offset: 0, length: LUKS_HEADER_BLOCK },
    ...header.keyslots
      .filter((keyslot) => keyslot.active)
      .map(({ offset, stripes }) => ({ offset, length: (header.keySize / 8) * stripes })),
  ];
  for (const { offset, length } of pieces) {
    const bytes = await file.read(container + offset, length);
    writeSync(copy.fd, bytes, 0, bytes.length, offset);
  }
  return await formatter.tryPassphrase(copy.fd, passphrase);
}
