import { LuksmithError } from "../error/luksmith-error.js";
import { PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { Secret } from "../secret/secret.js";

/**
 * `hex`: the text that Nova pipes into cryptsetup, its key as hexadecimal digits; `raw`: the bytes that the key manager
 * gives out, of which Nova makes that text.
 */
export type KeyForm = "hex" | "raw";

/** Bytes; Nova's keys have 64 at most, and 128 digits. */
const LIMIT = 1024;
/** Bits that a key may have; Nova asks the key manager for as many as its key_size says. */
const BITS = [128, 256, 512];

/** The passphrase as Nova gives it to cryptsetup: lower-case digits, no line end. @throws USAGE, PERMISSIONS_UNSAFE */
export function readNovaKey(path: string, form: KeyForm): Secret {
  const bytes = readBytes(path);
  try {
    return Secret.own(form === "raw" ? hexOf(path, bytes) : digitsOf(path, bytes));
  } finally {
    bytes.fill(0);
  }
}

function readBytes(path: string): Buffer {
  try {
    const bytes = readGuardedFile(path, PRIVATE_FILE, LIMIT);
    if (bytes !== undefined) return bytes;
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unusable(path, failure.text);
  }
  throw unusable(path, "there is no such file");
}

/** Nova pipes no line end; editors and shells leave one. */
function digitsOf(path: string, bytes: Buffer): Buffer {
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length;
  const digits = Buffer.from(bytes.subarray(0, end));
  if (BITS.includes(digits.length * 4) && digits.every(isLowerHexDigit)) return digits;
  digits.fill(0);
  throw unusable(
    path,
    `it has no key of ${BITS.join(", ")} bits as lower-case hexadecimal digits`,
    "if it holds the bytes that the key manager gave out, say --key-form raw",
  );
}

function hexOf(path: string, bytes: Buffer): Buffer {
  if (!BITS.includes(bytes.length * 8)) {
    const why = `a key has ${BITS.map((bits) => bits / 8).join(", ")} bytes, and it has ${bytes.length}`;
    throw unusable(path, why, "if it holds the key's hexadecimal digits, leave --key-form out");
  }
  const digits = Buffer.alloc(bytes.length * 2);
  for (const [index, byte] of bytes.entries()) {
    digits[index * 2] = hexDigit(byte >> 4);
    digits[index * 2 + 1] = hexDigit(byte & 15);
  }
  return digits;
}

function isLowerHexDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66);
}

function hexDigit(value: number): number {
  return value < 10 ? 0x30 + value : 0x61 + value - 10;
}

function unusable(path: string, why: string, hint?: string): LuksmithError {
  return new LuksmithError("USAGE", {
    what: `cannot read a key from ${path}`,
    why,
    ...(hint === undefined ? {} : { hint }),
  });
}
