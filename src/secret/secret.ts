import { randomFillSync } from "node:crypto";
import { inspect } from "node:util";

const REDACTED = "[redacted]";
const live = new Set<Secret>();

/**
 * Secret bytes (a passphrase, a master key). Every way of printing it says `[redacted]`; the bytes are reachable
 * through `use` only, and are zero-filled by `dispose` (or at the end of a `using` block).
 *
 * The Secret owns its bytes: whoever makes a Secret disposes of it, or hands it on together with that duty.
 * Not covered: copies that the callee of `use` makes, the kernel's buffers of a pipe, and a core dump.
 */
export class Secret implements Disposable {
  readonly #bytes: Buffer;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
    live.add(this);
  }

  /** Takes over `bytes`: the caller must not keep or change them. */
  static own(bytes: Buffer): Secret {
    return new Secret(bytes);
  }

  /** A new passphrase: 64 random bytes (512 bits) as base64 text, 88 ASCII characters, no newline. */
  static randomPassphrase(): Secret {
    const random = randomFillSync(Buffer.alloc(64));
    try {
      return new Secret(base64(random));
    } finally {
      random.fill(0);
    }
  }

  /** Length in bytes. */
  get length(): number {
    return this.#bytes.length;
  }

  /** Lends the bytes for the time of the call; `borrower` must not keep or change them. */
  use<T>(borrower: (bytes: Buffer) => T): T {
    return borrower(this.#bytes);
  }

  equals(other: Secret): boolean {
    return this.#bytes.equals(other.#bytes);
  }

  /** A second Secret with the same bytes, to be disposed of by the caller. */
  clone(): Secret {
    return new Secret(Buffer.from(this.#bytes));
  }

  dispose(): void {
    this.#bytes.fill(0);
    live.delete(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** `text` with every secret that is alive in this process replaced: for text that comes from a tool. */
export function redact(text: string): string {
  if (live.size === 0 || text.length === 0) return text;
  let clean = text;
  for (const secret of live) {
    // latin1 keeps one character for each byte, so that binary secrets are found as well
    const needle = secret.use((bytes) => bytes.toString("latin1"));
    if (needle.length >= 8 && clean.includes(needle)) clean = clean.replaceAll(needle, REDACTED);
  }
  return clean;
}

const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "latin1");

/** RFC 4648 base64 from bytes to bytes: no string is made, since strings cannot be wiped. */
function base64(input: Buffer): Buffer {
  const output = Buffer.alloc(Math.ceil(input.length / 3) * 4, "=");
  for (let i = 0, o = 0; i < input.length; i += 3, o += 4) {
    const left = input.length - i;
    const word = input.readUIntBE(i, Math.min(left, 3)) << (left === 1 ? 16 : left === 2 ? 8 : 0);
    const digits = Math.min(left + 1, 4);
    for (let d = 0; d < digits; d++) output[o + d] = ALPHABET[(word >> (18 - 6 * d)) & 63] ?? 0;
  }
  return output;
}
