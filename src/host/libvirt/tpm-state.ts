import { closeSync, constants, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";

/** Bits of the flags that swtpm writes big-endian at byte 4 of each file of a TPM's state. */
const ENCRYPTED = 0x1;

/** What the files of swtpm in a directory, or the one file, say of themselves; undefined where there are none. */
export function tpmStateOf(path: string): "encrypted" | "plaintext" | undefined {
  const files = stateFiles(path);
  if (files.length === 0) return undefined;
  return files.every(isEncrypted) ? "encrypted" : "plaintext";
}

function stateFiles(path: string): string[] {
  const stats = ifThere(() => statSync(path));
  if (stats?.isFile()) return [path];
  return ["", "tpm2", "tpm1.2"].flatMap((version) => {
    const directory = join(path, version);
    const names = ifThere(() => readdirSync(directory)) ?? [];
    return names
      .filter((name) => /^tpm.*\.(?:perm|vola|save)/.test(name))
      .map((name) => join(directory, name));
  });
}

function isEncrypted(file: string): boolean {
  return (
    ifThere(() => {
      const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        const header = Buffer.alloc(6);
        return readSync(fd, header, 0, 6, 0) === 6 && (header.readUInt16BE(4) & ENCRYPTED) !== 0;
      } finally {
        closeSync(fd);
      }
    }) ?? false
  );
}
