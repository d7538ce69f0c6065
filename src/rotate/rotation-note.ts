import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { RecordChange } from "../keystore/keystore.js";
import { isSameRecord } from "../keystore/record-change.js";

/** What a key record says of a rotation that has begun. */
export type RotationNote = NonNullable<KeyRecord["rotation"]>;

/** By what a process knows its own note, whoever else writes to the same keystore. */
export type Owner = Required<Pick<RotationNote, "id" | "host">>;

/** Minutes in which a rotation ends, if its host has not died over it. */
const UNDER_WAY = 10;

/** Of this process: another one has another, also if both begin in one millisecond. */
export function newOwner(): Owner {
  return { id: randomBytes(8).toString("hex"), host: hostname() };
}

/**
 * Whether the note's process may still be at work. One of this host is not: whoever asks has the key's lock. A host whose
 * clock is far off is not waited for.
 */
export function isUnderWay({ host, startedAt }: RotationNote, owner: Owner, now: Date): boolean {
  if (host === undefined || host === owner.host) return false;
  return Math.abs(now.getTime() - Date.parse(startedAt)) < UNDER_WAY * 60_000;
}

/** Notes what begins, if the record still is what was read. It throws ROTATION_REFUSED. */
export function noting(read: KeyRecord, note: RotationNote): RecordChange {
  return (current) => {
    if (isDeepStrictEqual(current.rotation, note)) return current;
    if (!isSameRecord(current, read)) throw keyChanged(current.uuid);
    return { ...current, rotation: note };
  };
}

/**
 * Takes a rotation over that another process has left: what that one still tries, should it live, fails. It throws
 * ROTATION_REFUSED.
 */
export function takingOver(read: RotationNote, owner: Owner, now: Date): RecordChange {
  const taken = { ...read, ...owner, startedAt: now.toISOString() };
  return (current) => {
    if (current.rotation?.id === owner.id) return current;
    if (!isDeepStrictEqual(current.rotation, read)) throw keyChanged(current.uuid);
    return { ...current, rotation: taken };
  };
}

/** Takes the own note away. It throws ROTATION_REFUSED for another one's. */
export function ending({ id }: Owner): RecordChange {
  return (current) => {
    if (current.rotation === undefined) return current;
    if (current.rotation.id !== id) throw keyChanged(current.uuid);
    const left = { ...current };
    delete left.rotation;
    return left;
  };
}

/** ROTATION_REFUSED: somebody else was faster. */
export function keyChanged(uuid: string): LuksmithError {
  return new LuksmithError("ROTATION_REFUSED", {
    what: `the record of key ${uuid} has changed meanwhile`,
    why: "another host rotates or converts it, or moves it to another keystore",
    hint: "begin again when that has ended",
  });
}

/** ROTATION_REFUSED: it is left to the host that is at it. */
export function underWay(uuid: string, { host, startedAt }: RotationNote): LuksmithError {
  return new LuksmithError("ROTATION_REFUSED", {
    what: `host ${host ?? ""} rotates key ${uuid} since ${startedAt}`,
    why: "two at once would destroy each other's keyslots",
    hint: `if that host has died over it, run the same command again ${UNDER_WAY} minutes after that`,
  });
}
