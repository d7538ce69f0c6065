import {
  claimedLuksUuid,
  type LuksHeader,
  luksHeaderLength,
  readLuksHeader,
} from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { type Volume, volumeName } from "../storage/volume.js";

/** @param origin where the bytes are from, for messages @throws LUKS_HEADER_INVALID */
export function headerIn(bytes: Buffer, origin: string): LuksHeader {
  const answer = readLuksHeader(bytes.subarray(0, luksHeaderLength(bytes)), ["luks", "luksv2"]);
  if (answer.kind === "luks") return answer.header;
  throw new LuksmithError("LUKS_HEADER_INVALID", {
    what: `${origin} has no usable LUKS header`,
    why: answer.kind === "none" ? "there is none" : answer.reason,
    hint: "bring back a copy: luksmith header restore, or without the keystore luksmith recover VOLUME --header FILE",
  });
}

/** `header`, if it is that of this key's volume, as far as its first block tells. @throws LUKS_UUID_MISMATCH */
export function requireOwn(
  { uuid, volume }: { readonly uuid: KeyUuid; readonly volume: Volume },
  header: Buffer,
): Buffer {
  const found = claimedLuksUuid(header);
  if (found === uuid) return header;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `volume ${volumeName(volume)} does not have the LUKS header of key ${uuid}`,
    why: found === undefined ? "it has none that names a key" : `its header is of key ${found}`,
  });
}
