import { LuksmithError } from "../error/luksmith-error.js";
import {
  type LuksArea,
  luksAreas,
  luksHeaderLength,
  type LuksHeader,
  readLuksHeader,
} from "./luks-header.js";
import { luks2KeyslotAreas } from "./luks2-header.js";

/** @param header from the container's start to its payload @throws LUKS_HEADER_INVALID */
export function parsedHeader(header: Buffer): LuksHeader {
  const answer = readLuksHeader(header.subarray(0, luksHeaderLength(header)), ["luks", "luksv2"]);
  if (answer.kind !== "luks") throw invalid(answer.kind === "bad" ? answer.reason : "there is none");
  if (answer.header.payloadOffset !== header.length)
    throw invalid("its payload begins elsewhere than its bytes end");
  return answer.header;
}

/** Numbers of the keyslots that are in use, of whatever key, the lowest first. @throws LUKS_HEADER_INVALID */
export function usedKeyslots(header: Buffer): readonly number[] {
  const parsed = parsedHeader(header);
  if (parsed.version === 1) return parsed.keyslots.flatMap(({ active }, number) => (active ? [number] : []));
  return [...luks2KeyslotAreas(header).keys()].sort((a, b) => a - b);
}

/** Where key material could be, and where none is that counts. @throws LUKS_HEADER_INVALID */
export function unusedAreas(header: Buffer): readonly LuksArea[] {
  const parsed = parsedHeader(header);
  if (parsed.version === 1) {
    const length = (parsed.keySize / 8) * (parsed.keyslots[0]?.stripes ?? 0);
    return parsed.keyslots.flatMap(({ active, offset }) => (active ? [] : [{ offset, length }]));
  }
  const [metadata] = luksAreas(parsed);
  const gaps: LuksArea[] = [];
  let end = metadata?.length ?? 0;
  for (const { offset, length } of inOrder(luks2KeyslotAreas(header).values())) {
    if (offset > end) gaps.push({ offset: end, length: offset - end });
    end = offset + length;
  }
  return end < header.length ? [...gaps, { offset: end, length: header.length - end }] : gaps;
}

function inOrder(areas: Iterable<LuksArea>): readonly LuksArea[] {
  return [...areas].sort((a, b) => a.offset - b.offset);
}

function invalid(why: string): LuksmithError {
  return new LuksmithError("LUKS_HEADER_INVALID", {
    what: "the LUKS header cannot be used",
    why,
    hint: "restore it from a copy: luksmith header restore",
  });
}
