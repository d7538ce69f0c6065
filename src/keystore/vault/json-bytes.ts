import type { Secret } from "../../secret/secret.js";

const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const BLANK = 0x2a;
/** Bytes of a secret from which on it does not stand somewhere by chance. */
const TELLING = 8;

/**
 * Takes the text value of the member `name` out of JSON without making a string of it, since strings cannot be wiped:
 * a copy of its bytes, which then are asterisks in `json`. Undefined, and nothing is changed, where the value has an
 * escape, is no text, or several members have the name: then the parser must read it.
 */
export function takeText(json: Buffer, name: string): Buffer | undefined {
  // a quote inside a text has a backslash before it, so that this stands nowhere but at a member
  const key = Buffer.from(`"${name}":`);
  const at = json.indexOf(key);
  if (at === -1 || json.indexOf(key, at + 1) !== -1) return undefined;
  const start = skipBlanks(json, at + key.length);
  if (json[start] !== QUOTE) return undefined;
  const end = json.indexOf(QUOTE, start + 1);
  if (end === -1) return undefined;
  const value = json.subarray(start + 1, end);
  if (value.includes(BACKSLASH)) return undefined;
  const taken = Buffer.from(value);
  value.fill(BLANK);
  return taken;
}

/** Puts asterisks wherever `secret` stands in `json`, before a parser makes strings of it. */
export function blankOut(json: Buffer, secret: Secret): void {
  if (secret.length < TELLING) return;
  secret.use((bytes) => {
    for (let at = json.indexOf(bytes); at !== -1; at = json.indexOf(bytes, at + bytes.length)) {
      json.fill(BLANK, at, at + bytes.length);
    }
  });
}

/** Whether the bytes mean themselves in a JSON text, also after Go's encoder, which escapes `<`, `>` and `&`. */
export function isPlainText(bytes: Buffer): boolean {
  return bytes.every((byte) => byte >= 0x20 && byte < 0x7f && !ESCAPED.has(byte));
}

const ESCAPED = new Set(Buffer.from(`"\\<>&`));

function skipBlanks(json: Buffer, from: number): number {
  let at = from;
  while (json[at] === 0x20 || json[at] === 0x0a) at++;
  return at;
}
