import { readSync, writeSync } from "node:fs";
import { openMemoryFile } from "../secret/secret-file.js";

/** cryptsetup wants a payload behind the header, of which nothing is copied. */
const PAYLOAD = 1024 * 1024;

/** A LUKS header in memory, for cryptsetup to change. */
export class HeaderCopy implements Disposable {
  readonly #file;
  readonly #length: number;

  constructor(header: Buffer) {
    this.#length = header.length;
    this.#file = openMemoryFile(header.length + PAYLOAD);
    for (let done = 0; done < header.length;)
      done += writeSync(this.#file.fd, header, done, header.length - done, done);
  }

  get fd(): number {
    return this.#file.fd;
  }

  /** All of the header as it is now. */
  bytes(): Buffer {
    const bytes = Buffer.alloc(this.#length);
    for (let done = 0; done < bytes.length;) {
      const read = readSync(this.fd, bytes, done, bytes.length - done, done);
      if (read === 0) throw new Error("a copy in memory became shorter");
      done += read;
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
