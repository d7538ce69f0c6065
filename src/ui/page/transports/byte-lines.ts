import { Lines } from "../../api/lines.js";

/** Lines of UTF-8 that comes in pieces, in which a line, or a character of it, may be cut in two. */
export class ByteLines {
  readonly #decoder = new TextDecoder();
  readonly #lines: Lines;

  constructor(onLine: (line: string) => void) {
    this.#lines = new Lines(onLine);
  }

  add(bytes: Uint8Array): void {
    this.#lines.add(this.#decoder.decode(bytes, { stream: true }));
  }

  end(): void {
    this.#lines.add(this.#decoder.decode());
    this.#lines.end();
  }
}
