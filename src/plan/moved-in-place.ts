import { stat } from "node:fs/promises";
import { PAYLOAD_OFFSET } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { SIGNPOST_CORE, signpostAt, signpostPlaces } from "../convert/in-place/geometry.js";
import { Journal, type JournalEntry } from "../convert/in-place/journal.js";
import { claims } from "../convert/in-place/signpost.js";
import { identityAt, outlivesRestart } from "../convert/volume-identity.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import { isZero } from "../storage/zero.js";

/** A volume can be larger than what is moved on it by an extent of LVM, which is seldom larger than this. */
const ROOM = 64 * 1024 * 1024;

/** How far the journal lags behind, and a bit more. */
const LAG = 72 * 1024 * 1024;

/**
 * The conversion in place that this host has begun on a volume and not ended: a part of it is plaintext, and the other
 * one is not. Starts no process, and opens no volume but one that could be meant.
 * @param journals names of files in `directory` @throws VOLUME_UNREADABLE of one that could be meant
 */
export async function movedInPlace(
  volume: PathVolume,
  directory: string,
  journals: readonly string[],
): Promise<JournalEntry | undefined> {
  const journal = new Journal(directory);
  for (const name of journals) {
    const uuid = parseKeyUuid(name.replace(/\.json$/, ""));
    const entry = uuid && journal.read(uuid);
    if (entry === undefined || !(await isMeant(entry, volume))) continue;
    if (!(await isDecrypted(entry, volume))) return entry;
  }
  return undefined;
}

/** By what it is, or by what stands on it where it was carried to another place. */
async function isMeant(entry: JournalEntry, volume: PathVolume): Promise<boolean> {
  const { identity } = entry;
  const isSure = identity !== undefined && outlivesRestart(identity);
  if (isSure && identity === (await identityAt(volume.path))) return true;
  if (!isSure && (await leadTo(entry.volume, volume.path))) return true;
  return await hasSignpost(entry, volume);
}

async function leadTo(path: string, other: string): Promise<boolean> {
  if (path === other) return true;
  const [a, b] = await Promise.all(
    [path, other].map((one) => stat(one, { bigint: true }).catch(() => undefined)),
  );
  if (a === undefined || b === undefined) return false;
  return a.isBlockDevice() ? b.isBlockDevice() && a.rdev === b.rdev : a.ino === b.ino && a.dev === b.dev;
}

/** Only a volume of the right size is opened, and read where the journal lets a signpost be. */
async function hasSignpost(entry: JournalEntry, volume: PathVolume): Promise<boolean> {
  const end = entry.payload + PAYLOAD_OFFSET;
  try {
    await using file = await open(volume);
    if (file.size < end || file.size >= end + ROOM) return false;
    const at = signpostAt(entry);
    const [from, to] =
      entry.to === "encrypted" ? [at - LAG, at + PAYLOAD_OFFSET] : [at - PAYLOAD_OFFSET, at + LAG];
    for (const place of signpostPlaces(from, Math.min(to, file.size)))
      if (claims(await file.read(place, SIGNPOST_CORE), entry.uuid)) return true;
    return false;
  } catch (thrown) {
    // one that is not there, or cannot be read: its guest does not get far
    if (thrown instanceof LuksmithError) return false;
    throw thrown;
  }
}

/** All is done but to forget it: a guest may have run on it since. */
async function isDecrypted({ to, payload }: JournalEntry, volume: PathVolume): Promise<boolean> {
  if (to !== "plain") return false;
  await using file = await open(volume);
  if (volume.kind === "file") return file.size === payload;
  return isZero(await file.read(payload, PAYLOAD_OFFSET));
}

function open({ kind, path }: PathVolume): Promise<VolumeFile> {
  return VolumeFile.open(path, "read", kind === "file" ? "regular file" : "block device");
}
