import { writeSync } from "node:fs";
import type { LuksFormatter } from "../encryption/luks-formatter.js";
import { luksAreas, type LuksHeader } from "../encryption/luks-header.js";
import type { Secret } from "../secret/secret.js";
import { openMemoryFile } from "../secret/secret-file.js";

/** cryptsetup wants a payload behind the header, of which nothing is copied. */
const PAYLOAD = 1024 * 1024;

/** Where a LUKS container's bytes can be read, `offset` counted from the start of the volume. */
export interface ContainerSource {
  read(offset: number, length: number): Promise<Buffer>;
}

/**
 * Whether `passphrase` opens a keyslot of the LUKS container that `header` was read from, tried on a copy in memory:
 * cryptsetup can reach neither the inside of a qcow2 image nor an RBD image.
 * @param start bytes of the volume before the container
 * @throws VOLUME_UNREADABLE, TOOL_FAILED
 */
export async function tryContainer(
  formatter: LuksFormatter,
  source: ContainerSource,
  header: LuksHeader,
  passphrase: Secret,
  start = 0,
): Promise<"opens" | "rejected"> {
  using copy = openMemoryFile(header.payloadOffset + PAYLOAD);
  for (const { offset, length } of luksAreas(header)) {
    const bytes = await source.read(start + offset, length);
    writeSync(copy.fd, bytes, 0, bytes.length, offset);
  }
  return await formatter.tryPassphrase(copy.fd, passphrase);
}
