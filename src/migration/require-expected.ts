import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { Incoming } from "../host/guest-migration.js";
import type { Guest } from "../host/host-adapter.js";
import { cannotStart } from "../plan/cannot-start.js";
import { guestWord } from "../plan/commands.js";
import { holdsGuestData } from "../request/guest-data.js";
import type { CopiedDisk } from "../plan/step.js";
import { ARRIVALS_DIRECTORY, type NotedArrival } from "./arrivals.js";

/**
 * Compares what comes with what this host was made ready for. Pure.
 * @throws STORAGE_NOT_COPIED where the guest would go on with empty disks; COPY_SHARES_KEY where what is copied would
 *   be encrypted under the key that it has at its source
 */
export function requireExpected(guest: Guest, noted: NotedArrival | "damaged", incoming: Incoming): void {
  if (incoming.brings === "nothing") {
    // its definition has come without a migration of the guest, and names the keys that were made for one
    if (noted !== "damaged" && noted.copies.length > 0) throw neverCopied(guest, noted.copies);
    return;
  }
  if (noted === "damaged") throw unknownNote(guest);
  const copies = new Set(noted.copies.map(({ disk }) => disk));
  const missing = [...copies].filter((disk) => isMissing(disk, incoming));
  if (missing.length > 0) throw notCopied(guest, missing, incoming);
  if (incoming.brings === "memory") return;
  const shared = sharedDisks(guest).filter((disk) => !copies.has(disk));
  const written = shared.filter((disk) => incoming.opened.get(disk) === "for-writing");
  if (written.length > 0) throw sharesKey(guest, written);
  const isUnseen = shared.length > 0 && shared.every((disk) => !incoming.opened.has(disk));
  if (isUnseen && copies.size === 0 && !hasOtherStorage(guest)) throw sharesKey(guest, shared);
}

function isMissing(disk: string, { brings, opened }: Incoming): boolean {
  return brings === "memory" || opened.get(disk) === "read-only";
}

/** Disks that have their own key already. */
function sharedDisks({ disks }: Guest): string[] {
  return Object.values(disks.mapping)
    .filter((disk) => !disk.readOnly && disk.encryption_secret_uuid !== undefined)
    .map(({ dev }) => dev);
}

/** A disk that is not encrypted may be what is copied. */
function hasOtherStorage({ disks }: Guest): boolean {
  return Object.values(disks.mapping).some(
    (disk) => holdsGuestData(disk) && !disk.readOnly && disk.encryption_secret_uuid === undefined,
  );
}

function notCopied(guest: Guest, disks: readonly string[], { brings }: Incoming): LuksmithError {
  const [is, volume] =
    disks.length === 1
      ? ["disk", "its volume on the target is"]
      : ["disks", "their volumes on the target are"];
  return new LuksmithError("STORAGE_NOT_COPIED", {
    what: `${cannotStart(guest)}: ${is} ${disks.join(", ")} would not have the guest's data`,
    why: `${volume} new or of an earlier migration, and the source sends ${brings === "memory" ? "memory only" : "other disks only"}`,
    hint: `migrate with ${brings === "memory" ? "--copy-storage-all" : "--migrate-disks that names them as well, or without it"}, or mount the storage that the source has; the guest runs on where it was`,
  });
}

function neverCopied(guest: Guest, copies: readonly CopiedDisk[]): LuksmithError {
  const disks = copies.map(({ disk }) => disk).join(", ");
  return new LuksmithError("STORAGE_NOT_COPIED", {
    what: `${cannotStart(guest)}: ${copies.length === 1 ? "disk" : "disks"} ${disks} may not have the guest's data`,
    why: "a migration was to copy them to this host, and has not come as far as that",
    hint: "if only the definition was migrated, bring the volumes and their keys as well, and let it name those keys; else run: luksmith reap",
  });
}

function sharesKey(guest: Guest, disks: readonly string[]): LuksmithError {
  return new LuksmithError("COPY_SHARES_KEY", {
    what: `${cannotStart(guest)}: the content of ${disks.length === 1 ? "disk" : "disks"} ${disks.join(", ")} would be copied under the key that it has already`,
    why: "the volumes on the target have the LUKS headers of the volumes at the source: they are the same ones, or copies",
    hint: "if the storage is shared, migrate without copying it; else make new, empty volumes in the place of the copies",
  });
}

function unknownNote(guest: Guest): LuksmithError {
  const path = shellWord(`${ARRIVALS_DIRECTORY}/${guest.id}`);
  return new LuksmithError("STORAGE_NOT_COPIED", {
    what: `${cannotStart(guest)}: it cannot be told whether its storage must be copied`,
    why: `what was noted about guest ${guestWord(guest)} cannot be read`,
    hint: `on the target, remove ${path}, and migrate again; the guest runs on where it was`,
  });
}
