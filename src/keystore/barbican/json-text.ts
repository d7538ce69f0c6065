const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const HEX = Buffer.from("0123456789abcdef", "latin1");

/**
 * `text`, UTF-8, as a string of JSON with its quotes (RFC 8259): from bytes to bytes, since a string of JavaScript
 * cannot be wiped. The caller wipes the result.
 */
export function jsonText(text: Buffer): Buffer {
  const output = Buffer.alloc(2 + text.reduce((length, byte) => length + escapedLength(byte), 0));
  let at = output.writeUInt8(QUOTE);
  for (const byte of text) at = writeEscaped(output, at, byte);
  output.writeUInt8(QUOTE, at);
  return output;
}

function escapedLength(byte: number): number {
  if (byte < SPACE) return 6;
  return byte === QUOTE || byte === BACKSLASH ? 2 : 1;
}

/** @returns where the next one goes */
function writeEscaped(output: Buffer, at: number, byte: number): number {
  switch (escapedLength(byte)) {
    case 6:
      at += output.write("\\u00", at, "latin1");
      at = output.writeUInt8(HEX[byte >> 4] ?? 0, at);
      return output.writeUInt8(HEX[byte & 15] ?? 0, at);
    case 2:
      at = output.writeUInt8(BACKSLASH, at);
      return output.writeUInt8(byte, at);
    default:
      return output.writeUInt8(byte, at);
  }
}
