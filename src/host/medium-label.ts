import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { ifThere } from "../fs/if-there.js";

/** ISO 9660: the primary volume descriptor is in sector 16, its volume identifier 40 bytes into it. */
const DESCRIPTOR = 16 * 2048;
/** FAT: the label stands behind the parameter block, whose length differs, and before the name of the file system. */
const FAT = [
  { label: 43, type: 54, name: "FAT1" },
  { label: 71, type: 82, name: "FAT32" },
];

/** What a medium calls itself: the label of an ISO 9660 or FAT file system; undefined for what has none. */
export function mediumLabel(path: string): string | undefined {
  return ifThere(() => {
    // a pipe that somebody put there must not be waited for
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(fd);
      return stats.isFile() || stats.isBlockDevice() ? labelIn(fd) : undefined;
    } finally {
      closeSync(fd);
    }
  });
}

function labelIn(fd: number): string | undefined {
  const descriptor = read(fd, DESCRIPTOR, 72);
  if (descriptor.subarray(1, 6).toString("latin1") === "CD001") return text(descriptor.subarray(40, 72));
  const start = read(fd, 0, 128);
  const fat = FAT.find(({ type, name }) => start.toString("latin1", type, type + name.length) === name);
  return fat && text(start.subarray(fat.label, fat.label + 11));
}

function read(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, position);
  return bytes;
}

function text(bytes: Buffer): string {
  return bytes.toString("latin1").replace(/[\0 ]+$/, "");
}
