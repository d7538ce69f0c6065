const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "latin1");

/** RFC 4648 base64 from bytes to bytes: no string is made, since strings cannot be wiped. */
export function base64(input: Buffer): Buffer {
  const output = Buffer.alloc(Math.ceil(input.length / 3) * 4, "=");
  for (let i = 0, o = 0; i < input.length; i += 3, o += 4) {
    const left = input.length - i;
    const word = input.readUIntBE(i, Math.min(left, 3)) << (left === 1 ? 16 : left === 2 ? 8 : 0);
    const digits = Math.min(left + 1, 4);
    for (let d = 0; d < digits; d++) output[o + d] = ALPHABET[(word >> (18 - 6 * d)) & 63] ?? 0;
  }
  return output;
}
