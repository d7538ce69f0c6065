import { readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { currentActor } from "../audit/actor.js";
import { digestOf } from "../audit/entry.js";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { createFile, makeDirectory } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { volumeName } from "../storage/volume.js";
import { SHRED_DIRECTORY, type ShredNote } from "./shred-notes.js";
import {
  hostPublicKey,
  knownPublicKey,
  type ShredRecord,
  signRecord,
  verifyRecord,
} from "./signed-record.js";

export interface RecordPlaces {
  /** Of notes and records. */
  readonly directory?: string;
  /** Path of the host's signing key. */
  readonly signingKey?: string;
}

/** A record of this host, with the file that it was found in. */
export interface FoundRecord {
  readonly path: string;
  readonly record: ShredRecord;
}

/**
 * The record that says that the key was destroyed, the last one that this host has signed; undefined where none does.
 * Changes nothing.
 */
export function recordFor(key: KeyUuid, places: RecordPlaces = {}): FoundRecord | undefined {
  const paths = pathsFor(key, places);
  const publicKey = paths.length === 0 ? undefined : knownPublicKey(places.signingKey);
  if (publicKey === undefined) return undefined;
  const records = paths.flatMap((path) => recordIn(path, publicKey) ?? []);
  const own = records.filter(({ record }) => record.key === key);
  return own.sort((a, b) => a.record.endedAt.localeCompare(b.record.endedAt)).at(-1);
}

/** Makes what a record needs but room, before anything is destroyed. @throws NOT_PERMITTED, PERMISSIONS_UNSAFE */
export function requireRecordable(places: RecordPlaces): void {
  writing(places, () => {
    makeDirectory(recordsIn(places), PRIVATE_DIRECTORY.mode);
    hostPublicKey(places.signingKey);
  });
}

/**
 * Signed. One of the same destruction that a kill came after is there already, with the same name.
 * @returns the file's path @throws NOT_PERMITTED
 */
export function writeRecord(note: ShredNote, now: Date, places: RecordPlaces): string {
  const record = recordOf(note, now);
  const path = join(recordsIn(places), `${record.key}.${digestOf(record.startedAt).slice(0, 8)}.json`);
  writing(places, () => {
    makeDirectory(recordsIn(places), PRIVATE_DIRECTORY.mode);
    createFile(path, Buffer.from(signRecord(record, places.signingKey)), PRIVATE_FILE.mode);
  });
  return path;
}

function recordOf({ overwriting, volume, ...note }: ShredNote, now: Date): ShredRecord {
  const overwrittenWith = overwriting.digest;
  const [endedAt, by] = [now.toISOString(), currentActor()];
  return { ...note, volume: volumeName(volume), host: hostname(), endedAt, by, overwrittenWith };
}

function recordIn(path: string, publicKey: string): FoundRecord | undefined {
  try {
    return { path, record: verifyRecord(readFileSync(path, "utf8"), publicKey) };
  } catch (thrown) {
    // one that is damaged, or another host's, says nothing
    if (thrown instanceof LuksmithError || errnoOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

function pathsFor(key: KeyUuid, places: RecordPlaces): string[] {
  const directory = recordsIn(places);
  try {
    const names = readdirSync(directory).filter(
      (name) => name.startsWith(`${key}.`) && name.endsWith(".json"),
    );
    return names.map((name) => join(directory, name));
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return [];
    throw thrown;
  }
}

function recordsIn({ directory = SHRED_DIRECTORY }: RecordPlaces): string {
  return join(directory, "records");
}

function writing(places: RecordPlaces, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("NOT_PERMITTED", {
      what: `cannot write the record to ${recordsIn(places)}`,
      why: failure.text,
      hint: "make room, and call luksmith shred again: it writes what is missing",
      cause: thrown,
    });
  }
}
