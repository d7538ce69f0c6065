import { luksAreas, type LuksHeader } from "../encryption/luks-header.js";
import { parsedHeader, usedKeyslots } from "../encryption/keyslot-use.js";
import { luks2KeyslotAreas } from "../encryption/luks2-header.js";

/** How a keyslot of the header is not as in the copy. */
export interface KeyslotDrift {
  readonly keyslot: number;
  readonly change: "added" | "destroyed" | "changed";
}

export type HeaderDrift =
  | { readonly kind: "same" }
  | { readonly kind: "changed"; readonly keyslots: readonly KeyslotDrift[] }
  /** What never changes is another: the volume key's digest, the cipher, the payload's place, the UUID. */
  | { readonly kind: "foreign"; readonly what: string };

const ENTRY = { offset: 208, length: 48 };
/** LUKS1's digest of the volume key, its salt and iterations. */
const DIGEST = { start: 112, end: 168 };

/**
 * What tells a volume's header from a copy of it. Both are whole headers to their payload.
 * @throws LUKS_HEADER_INVALID
 */
export function compareHeaders(now: Buffer, copy: Buffer): HeaderDrift {
  const [current, former] = [parsedHeader(now), parsedHeader(copy)];
  const what = foreignIn([now, current], [copy, former]);
  if (what !== undefined) return { kind: "foreign", what };
  const [used, before] = [usedKeyslots(now), usedKeyslots(copy)];
  const all = [...new Set([...used, ...before])].sort((a, b) => a - b);
  const keyslots = all.flatMap((keyslot): KeyslotDrift[] => {
    if (!before.includes(keyslot)) return [{ keyslot, change: "added" }];
    if (!used.includes(keyslot)) return [{ keyslot, change: "destroyed" }];
    const isSame = keyslotBytes(now, keyslot).equals(keyslotBytes(copy, keyslot));
    return isSame ? [] : [{ keyslot, change: "changed" }];
  });
  return keyslots.length === 0 ? { kind: "same" } : { kind: "changed", keyslots };
}

type Parsed = readonly [Buffer, LuksHeader];

function foreignIn([now, a]: Parsed, [copy, b]: Parsed): string | undefined {
  if (a.uuid !== b.uuid) return "the UUID";
  if (a.version !== b.version) return "the version";
  if (a.cipher !== b.cipher || a.keySize !== b.keySize) return "the cipher";
  if (a.payloadOffset !== b.payloadOffset) return "the payload's place";
  const { start, end } = DIGEST;
  if (a.version === 1 && !now.subarray(start, end).equals(copy.subarray(start, end)))
    return "the volume key's digest";
  return undefined;
}

/** The entry, where it has a place of its own, and the key material. */
function keyslotBytes(header: Buffer, keyslot: number): Buffer {
  const parsed = parsedHeader(header);
  if (parsed.version === 2) {
    const area = luks2KeyslotAreas(header).get(keyslot);
    return header.subarray(area?.offset ?? 0, (area?.offset ?? 0) + (area?.length ?? 0));
  }
  const at = ENTRY.offset + keyslot * ENTRY.length;
  const { offset = 0 } = parsed.keyslots[keyslot] ?? {};
  const area = luksAreas(parsed).find((candidate) => candidate.offset === offset);
  return Buffer.concat([
    header.subarray(at, at + ENTRY.length),
    header.subarray(offset, offset + (area?.length ?? 0)),
  ]);
}
