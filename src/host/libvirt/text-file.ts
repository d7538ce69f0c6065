import { writeFileSync } from "node:fs";
import { type MemoryFile, openMemoryFile } from "../../secret/secret-file.js";

/** `text` in an unnamed file on tmpfs, for virsh; it can hold a guest's VNC password. Disposing closes it. */
export function textFile(text: string): MemoryFile {
  const file = openMemoryFile();
  try {
    writeFileSync(file.fd, text);
    return file;
  } catch (thrown) {
    file[Symbol.dispose]();
    throw thrown;
  }
}
