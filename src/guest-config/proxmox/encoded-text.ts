/**
 * Text as Proxmox VE writes it into a line of a configuration: UTF-8, of which every byte that is a control character,
 * not ASCII, `:` or `%` is %XX. What is no UTF-8 becomes U+FFFD.
 */
export function decodeText(encoded: string): string {
  const bytes = Buffer.from(encoded, "utf8").toString("latin1");
  const raw = bytes.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 16)),
  );
  return Buffer.from(raw, "latin1").toString("utf8");
}

/** The same back; line ends are encoded as well. */
export function encodeText(text: string): string {
  const bytes = Buffer.from(text, "utf8").toString("latin1");
  return bytes.replace(/[^\x20-\x24\x26-\x39\x3b-\x7e]/g, encodeByte);
}

function encodeByte(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}
