import { applied } from "../encryption/keyslot-pieces.js";
import type { Keyslots } from "../encryption/keyslots.js";
import { claimedLuksUuid } from "../encryption/luks-header.js";
import type { LuksPiece } from "../encryption/luks-image.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";

/** The key that a copy was made with, and the one that it gets. */
export interface Naming {
  /** For messages. */
  readonly volume: string;
  readonly former: KeyUuid;
  readonly old: Secret;
  readonly uuid: KeyUuid;
  readonly passphrase: Secret;
}

/** The new keyslot first, then the new name: each UUID names a passphrase that opens. */
export async function renamedWith(
  header: Buffer,
  { volume, former, old, uuid, passphrase }: Naming,
  keyslots: Keyslots,
): Promise<readonly LuksPiece[]> {
  if (uuidIn(header, volume) !== former) throw changed(volume);
  const isThere = (await keyslots.find(header, passphrase)) !== undefined;
  const added = isThere
    ? []
    : (await keyslots.add(header, { passphrase: old, added: passphrase, strength: "machine" })).pieces;
  return [...added, ...keyslots.renamed(applied(header, added), uuid)];
}

/** The way back: the former name first, then the new keyslot goes. */
export async function namedBack(
  header: Buffer,
  { volume, former, old, uuid, passphrase }: Naming,
  keyslots: Keyslots,
): Promise<readonly LuksPiece[]> {
  if (uuidIn(header, volume) !== uuid) throw changed(volume);
  const renamed = keyslots.renamed(header, former);
  const named = applied(header, renamed);
  const keyslot = await keyslots.find(named, passphrase);
  if (keyslot === undefined) return renamed;
  return [...renamed, ...(await keyslots.remove(named, { keyslot, passphrase: old })).pieces];
}

/** Without the keyslots that the passphrase does not open. */
export async function withoutOthers(
  header: Buffer,
  { uuid, passphrase, volume }: Pick<Naming, "uuid" | "passphrase" | "volume">,
  keyslots: Keyslots,
): Promise<readonly LuksPiece[]> {
  if (uuidIn(header, volume) !== uuid) throw changed(volume);
  const own = await keyslots.find(header, passphrase);
  const pieces: LuksPiece[] = [];
  let now = header;
  for (const keyslot of keyslots.used(header)) {
    if (keyslot === own) continue;
    const removal = (await keyslots.remove(now, { keyslot, passphrase })).pieces;
    pieces.push(...removal);
    now = applied(now, removal);
  }
  return pieces;
}

/** @throws PASSPHRASE_REJECTED */
export async function requireOpening(
  header: Buffer,
  { passphrase, volume }: Pick<Naming, "passphrase" | "volume">,
  keyslots: Keyslots,
): Promise<void> {
  if ((await keyslots.find(header, passphrase)) !== undefined) return;
  throw new LuksmithError("PASSPHRASE_REJECTED", {
    what: `${volume} does not open with the passphrase that was just put there`,
    why: "the volume does not keep what is written to it",
    hint: "see its storage; nothing was taken away from it",
  });
}

/** @throws LUKS_HEADER_INVALID */
export function uuidIn(header: Buffer, volume: string): KeyUuid {
  const uuid = claimedLuksUuid(header);
  if (uuid !== undefined) return uuid;
  throw new LuksmithError("LUKS_HEADER_INVALID", { what: `the LUKS header of ${volume} names no key` });
}

function changed(volume: string): LuksmithError {
  return new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `the LUKS header of ${volume} was changed meanwhile`,
    hint: "see who else works on it, and try again",
  });
}
