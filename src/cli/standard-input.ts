import { readSync } from "node:fs";
import { isatty } from "node:tty";
import { LuksmithError } from "../error/luksmith-error.js";

const STDIN = 0;
const MIB = 1024 * 1024;
/** Bytes, far more than any file that a command takes: tens of thousands of keys. */
const LIMIT = 64 * MIB;

/**
 * All that comes on standard input.
 * @throws USAGE instead of waiting for somebody to type it, or going on with nothing but white space, or filling the
 *   memory with what has no end
 */
export function readStandardInput(text: { readonly what: string; readonly hint: string }): Buffer {
  const bytes = isatty(STDIN) ? undefined : readAll();
  if (bytes?.some((byte) => !WHITE_SPACE.has(byte))) return bytes;
  throw new LuksmithError("USAGE", {
    ...text,
    why: bytes === undefined ? "standard input is a terminal" : "nothing came on standard input",
  });
}

function readAll(): Buffer {
  const parts: Buffer[] = [];
  for (let size = 0; ;) {
    const part = Buffer.allocUnsafe(MIB);
    const length = readSync(STDIN, part);
    if (length === 0) return joined(parts);
    parts.push(part.subarray(0, length));
    size += length;
    if (size > LIMIT) {
      throw new LuksmithError("USAGE", {
        what: `more than ${LIMIT / MIB} MiB came on standard input`,
        why: "nothing that luksmith reads is so large",
        hint: "see that it is the right file",
      });
    }
  }
}

/** The whole; the parts are wiped, since a secret may be in them. */
function joined(parts: readonly Buffer[]): Buffer {
  const whole = Buffer.concat(parts);
  parts.forEach((part) => part.fill(0));
  return whole;
}

const WHITE_SPACE: ReadonlySet<number> = new Set(Buffer.from(" \t\r\n"));
