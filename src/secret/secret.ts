import { randomFillSync } from "node:crypto";
import { inspect } from "node:util";
import { base64 } from "./base64.js";

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
  #disposed = false;

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

  /**
   * Lends the bytes for the time of the call; `borrower` must not keep or change them. Throws after `dispose`, when
   * they are zeros: no disk is ever locked with a wiped passphrase.
   */
  use<T>(borrower: (bytes: Buffer) => T): T {
    if (this.#disposed) throw new Error("a secret was used after it had been disposed of");
    return borrower(this.#bytes);
  }

  equals(other: Secret): boolean {
    return this.use((mine) => other.use((theirs) => mine.equals(theirs)));
  }

  dispose(): void {
    this.#bytes.fill(0);
    this.#disposed = true;
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

/**
 * `text` with every secret that is alive in this process replaced: for text that comes from a tool or from outside.
 * Finds a secret that stands there whole, as UTF-8 text. Shorter ones than 8 bytes stay: they would match by chance.
 */
export function redact(text: string): string {
  if (live.size === 0 || text.length === 0) return text;
  // bytes are compared, so that no secret becomes a string
  const original: Buffer = Buffer.from(text, "utf8");
  let clean = original;
  // the longest first: one that holds another must go as a whole
  for (const secret of [...live].sort((a, b) => b.length - a.length)) {
    if (secret.length >= 8) clean = secret.use((bytes) => replaceAll(clean, bytes));
  }
  return clean === original ? text : clean.toString("utf8");
}

function replaceAll(text: Buffer, needle: Buffer): Buffer {
  const parts: Uint8Array[] = [];
  let from = 0;
  for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, from)) {
    parts.push(text.subarray(from, at), Buffer.from(REDACTED));
    from = at + needle.length;
  }
  return from === 0 ? text : Buffer.concat([...parts, text.subarray(from)]);
}
