import type { KeyRecord } from "../../generated/key-record.js";
import { contended, isSameRecord } from "../record-change.js";
import type { Budget } from "./budget.js";

/** What one attempt has done. */
export interface Rewritten {
  /** As it is stored now. */
  readonly record: KeyRecord;
  /** Milliseconds between the answer that the change was made from and the one to what was written; 0 for nothing. */
  readonly took: number;
}

/** A record on a server that writes without comparing: of two who read the same one, the later one writes last. */
export interface SharedRecord {
  /** Reads, changes and writes. @throws KEY_NOT_FOUND, and what the change throws */
  rewrite(): Promise<Rewritten>;
  /** Undefined if the key is there no more. */
  read(): Promise<KeyRecord | undefined>;
}

const ATTEMPTS = 8;
/** Milliseconds that anybody takes at least between reading and having written. */
const SHORTEST = 150;

/**
 * Changes it so that nobody's change is lost: whoever has written waits until all who have read before have written as
 * well, looks again, and begins anew if somebody has written over it. What remains is a writer that takes longer than
 * this one between its reading and its writing, and longer than SHORTEST.
 */
export async function changeSettled(
  shared: SharedRecord,
  { keystore, uuid }: { readonly keystore: string; readonly uuid: string },
  budget: Budget,
): Promise<KeyRecord> {
  for (let count = 1; count <= ATTEMPTS; count++) {
    const { record, took } = await shared.rewrite();
    if (took === 0) return record;
    // half of it at least, and not all of the time that is left
    await budget.pause(Math.min(2 * Math.max(SHORTEST, took), budget.left / 2));
    const now = await shared.read();
    // what is deleted since was changed before
    if (now === undefined || isSameRecord(now, record)) return record;
  }
  throw contended(keystore, uuid);
}
