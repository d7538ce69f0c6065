import type { Keyslots } from "../encryption/keyslots.js";
import { claimedLuksUuid, LUKS_HEADER_BLOCK } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { Probe, StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { isZero } from "../storage/zero.js";
import { headerIn } from "./header-in.js";
import { isLeftOf } from "./left-of-header.js";

export interface HeaderToRestore {
  readonly backend: StorageBackend;
  readonly volume: Volume;
  /** A copy, as the header vault or `cryptsetup luksHeaderBackup` made it. */
  readonly copy: Buffer;
  /** Where the copy is from, for messages. */
  readonly origin: string;
  readonly passphrase: Secret;
  /**
   * Is given what is about to be overwritten, unless that is zeros, and keeps it; what it throws is thrown, and nothing
   * is written.
   */
  readonly keep: (overwritten: Buffer) => void | Promise<void>;
}

/**
 * Writes a copy of a LUKS header to a volume that has lost it, when the passphrase was proven to open the copy, and
 * while nobody else has the volume open. Never over anything but what is left of this header, or zeros: what else is
 * there may be a guest's. The key material comes first: a volume has a header again when all of it is there.
 * @returns `unchanged` if the volume has this very header
 * @throws HEADER_BACKUP_INVALID, PASSPHRASE_REJECTED, LUKS_UUID_MISMATCH if the volume has the header of another key,
 *   VOLUME_NOT_EMPTY if it holds something else, VOLUME_BUSY
 */
export async function restoreHeader(
  { backend, volume, copy, origin, passphrase, keep }: HeaderToRestore,
  keyslots: Pick<Keyslots, "find">,
): Promise<"restored" | "unchanged"> {
  const header = copy.subarray(0, requireCopy(copy, origin));
  const { uuid } = headerIn(header, origin);
  if ((await keyslots.find(header, passphrase)) === undefined) {
    throw new LuksmithError("PASSPHRASE_REJECTED", {
      what: `the passphrase does not open ${origin}`,
      why: "a copy that does not open would lock the volume",
      hint: "nothing was written; use the passphrase of that time, or another copy",
    });
  }
  let outcome: "restored" | "unchanged" = "unchanged";
  await backend.changeHeader(
    volume,
    header.length,
    async (now) => {
      if (now.equals(header)) return [];
      refuseOther({ now, header, uuid, volume, probe: await backend.probe(volume, "allocation-map") });
      if (!isZero(now)) await keep(now);
      outcome = "restored";
      const block = { offset: 0, bytes: header.subarray(0, LUKS_HEADER_BLOCK) };
      const rest = { offset: LUKS_HEADER_BLOCK, bytes: header.subarray(LUKS_HEADER_BLOCK) };
      return [rest, block];
    },
    "excluded",
  );
  return outcome;
}

/** @throws LUKS_UUID_MISMATCH, VOLUME_NOT_EMPTY */
function refuseOther({ now, header, uuid, volume, probe }: Found): void {
  const claimed = claimedLuksUuid(now);
  if (claimed === uuid) return;
  if (claimed !== undefined) throw otherKey(volume, claimed, uuid);
  const signature = probe.kind === "data" ? probe.signature : undefined;
  if (signature === undefined && isLeftOf(now, header)) return;
  throw new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot restore a LUKS header of ${volumeName(volume)}: something else is there`,
    why:
      signature === undefined
        ? `nothing of the header of key ${uuid} is left in its place; it may be data of a guest`
        : `it holds ${signature}, which a guest may have in use`,
    hint: `if it was written over the header by mistake: save its first ${now.length} bytes with dd, overwrite them with zeros, and run it again`,
  });
}

interface Found {
  /** Bytes in the place of the header. */
  readonly now: Buffer;
  readonly header: Buffer;
  readonly uuid: KeyUuid;
  readonly volume: Volume;
  readonly probe: Probe;
}

/** @returns its bytes to the payload @throws HEADER_BACKUP_INVALID */
function requireCopy(copy: Buffer, origin: string): number {
  const why = whyNoCopy(copy, origin);
  if (typeof why === "number") return why;
  throw new LuksmithError("HEADER_BACKUP_INVALID", { what: `${origin} is no copy of a LUKS header`, why });
}

function whyNoCopy(copy: Buffer, origin: string): number | string {
  try {
    const { payloadOffset } = headerIn(copy, origin);
    return copy.length < payloadOffset ? "it is cut off" : payloadOffset;
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown.why ?? thrown.message;
    throw thrown;
  }
}

function otherKey(volume: Volume, claimed: string, uuid: string): LuksmithError {
  return new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot restore a LUKS header of ${volumeName(volume)}`,
    why: `the volume has the header of ${claimed}, and the copy is of ${uuid}`,
    hint: "if the header that is there is the wrong one, save it with dd and overwrite it with zeros first",
  });
}
