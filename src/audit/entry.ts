import { createHash } from "node:crypto";
import { redactDeep } from "../log/redaction.js";
import type { KeyUse } from "./audit-log.js";

/** Who did it: the user that has logged in, whatever he became since, and what he called. */
export interface Actor {
  readonly uid: number;
  readonly command: string;
}

/** A place in the chain: the number of an entry, and its hash. */
export interface ChainEnd {
  readonly seq: number;
  readonly hash: string;
}

/** What the log says of itself: of a line that was cut short, of entries that are gone. */
export interface LogNote {
  readonly event: "note";
  readonly detail: string;
  /** SHA-256 of the line right before, which a power cut has torn. */
  readonly after?: string;
  /** SHA-256 of the line right before, which is whole and no entry. */
  readonly damaged?: string;
  /** The last entry of those that were written and are not there. */
  readonly missing?: ChainEnd;
}

export interface Frame {
  readonly time: Date;
  readonly host: string;
  readonly by: Actor;
}

/** As it is written; `hash` is the SHA-256 of the line without it. */
export type AuditEntry = ChainEnd & {
  readonly time: string;
  readonly host: string;
  readonly by: Actor;
  /** The hash of the entry before. */
  readonly previous: string;
} & (KeyUse | LogNote);

/** What the first entry of all names as the one before. */
export const BEGIN: ChainEnd = { seq: 0, hash: "0".repeat(64) };

/** The entry that follows, as one line without its end. */
export function entryAfter(
  { seq, hash: previous }: ChainEnd,
  what: KeyUse | LogNote,
  frame: Frame,
): { readonly line: string; readonly end: ChainEnd } {
  const { time, host, by } = frame;
  const body = { seq: seq + 1, time: time.toISOString(), host, ...inOrder(what), by, previous };
  const text = JSON.stringify(redactDeep(body));
  const hash = digestOf(text);
  return { line: `${text.slice(0, -1)},"hash":"${hash}"}`, end: { seq: seq + 1, hash } };
}

/**
 * The entry that a line is, or undefined if its hash is not that of the line. One way to write an entry is valid, so that
 * nothing in it can be changed that a parser does not see.
 */
export function parseEntry(line: string): AuditEntry | undefined {
  const entry = parseJson(line);
  if (typeof entry !== "object" || entry === null || Array.isArray(entry)) return undefined;
  if (JSON.stringify(entry) !== line) return undefined;
  const { hash, ...body } = entry as Record<string, unknown>;
  if (typeof hash !== "string" || digestOf(JSON.stringify(body)) !== hash) return undefined;
  return Number.isSafeInteger(body["seq"]) && typeof body["previous"] === "string"
    ? (entry as AuditEntry)
    : undefined;
}

export function digestOf(text: string | Uint8Array): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Whoever made the object: an auditor reads the same columns in each line. */
function inOrder(what: KeyUse | LogNote): object {
  if (what.event === "note") return what;
  const { event, guest, disk, volume, key, keystore, result, code, detail } = what;
  const named = guest && { id: guest.id, name: guest.name };
  return { event, guest: named, disk, volume, key, keystore, result, code, detail };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
