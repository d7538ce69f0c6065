import { readLuksHeader } from "../encryption/luks-header.js";
import { digestOf } from "../headers/backup-file.js";

const LUKS1_KEYSLOTS = { offset: 208, length: 48 };
const LUKS2_BINARY = 4096;

/**
 * The keyslots of a LUKS header that are in use, each with a text that tells it from every other one that was ever
 * there: the hash of its description, which has a random salt in it. Empty for what is no LUKS header.
 * @param header from the container's start, so far that it has the description of every keyslot
 */
export function keyslotsIn(header: Buffer): ReadonlyMap<number, string> {
  const answer = readLuksHeader(header, ["luks", "luksv2"]);
  if (answer.kind !== "luks") return new Map();
  if (answer.header.version === 2) return luks2Keyslots(header, answer.header.copySize);
  const active = answer.header.keyslots.flatMap((keyslot, index) => (keyslot.active ? [index] : []));
  return new Map(
    active.map((index) => {
      const at = LUKS1_KEYSLOTS.offset + index * LUKS1_KEYSLOTS.length;
      return [index, digestOf(header.subarray(at, at + LUKS1_KEYSLOTS.length))];
    }),
  );
}

/** The strict reader has found the first copy in order. */
function luks2Keyslots(header: Buffer, copySize: number): ReadonlyMap<number, string> {
  const area = header.subarray(LUKS2_BINARY, copySize);
  const end = area.indexOf(0);
  const text = area.subarray(0, end === -1 ? area.length : end).toString("utf8");
  const { keyslots } = JSON.parse(text) as { readonly keyslots: Readonly<Record<string, unknown>> };
  return new Map(
    Object.entries(keyslots).map(([id, keyslot]) => [
      Number(id),
      digestOf(Buffer.from(JSON.stringify(keyslot))),
    ]),
  );
}
