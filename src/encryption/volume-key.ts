import { type LuksHeader, readLuksHeader } from "./luks-header.js";

/** `mk-digest` and `mk-digest-salt` of `struct luks_phdr`. */
const LUKS1_DIGEST = { offset: 112, length: 20 };
const LUKS1_SALT = { offset: 132, length: 32 };
const LUKS2_BINARY = 4096;

/**
 * Of each volume key in a LUKS header, a text by which it is known again in other headers: its digest with the salt,
 * which a copy of a header keeps, be it under another UUID and with other keyslots. One text for both versions of LUKS.
 * Tells nothing of the key. Empty for what is no LUKS header.
 * @param start of the container, so far that `readLuksHeader` can read it
 */
export function volumeKeysIn(start: Buffer): readonly string[] {
  const answer = readLuksHeader(start, ["luks", "luksv2"]);
  if (answer.kind !== "luks") return [];
  return answer.header.version === 1 ? [luks1Key(start)] : luks2Keys(start, answer.header);
}

function luks1Key(start: Buffer): string {
  const field = ({ offset, length }: typeof LUKS1_SALT) => start.subarray(offset, offset + length);
  return textOf(field(LUKS1_SALT), field(LUKS1_DIGEST));
}

/** The strict reader has found the first copy in order. */
function luks2Keys(start: Buffer, { copySize }: LuksHeader & { readonly version: 2 }): string[] {
  const area = start.subarray(LUKS2_BINARY, copySize);
  const end = area.indexOf(0);
  const text = area.subarray(0, end === -1 ? area.length : end).toString("utf8");
  const { digests } = JSON.parse(text) as { readonly digests: Readonly<Record<string, Digest>> };
  return Object.values(digests).map(({ salt, digest }) => textOf(bytesOf(salt), bytesOf(digest)));
}

interface Digest {
  readonly salt: string;
  readonly digest: string;
}

function bytesOf(base64: string): Buffer {
  return Buffer.from(base64, "base64");
}

function textOf(salt: Buffer, digest: Buffer): string {
  return `${salt.toString("hex")}:${digest.toString("hex")}`;
}
