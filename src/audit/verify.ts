import { type AuditEntry, BEGIN, type ChainEnd, digestOf, parseEntry } from "./entry.js";

/** A log file, the oldest first. */
export interface LogFile {
  readonly path: string;
  readonly bytes: Buffer;
}

export interface Expectation {
  /** The hash of an entry that must be there. */
  readonly hash?: string;
  /** What the host has written last, as it says itself. */
  readonly head?: ChainEnd;
}

/** The first place that does not fit. */
export interface BrokenPlace {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly reason: string;
}

export interface Verification {
  readonly entries: number;
  readonly first: ChainEnd | undefined;
  readonly last: ChainEnd | undefined;
  /** Entries that came before the first one, and are in none of these files. */
  readonly before: number;
  /** Lines that a power cut has left unfinished. */
  readonly cutShort: number;
  readonly broken: BrokenPlace | undefined;
}

/** Follows the chain through the files. Tells what does not fit; what was written anew from some entry on fits. */
export function verify(files: readonly LogFile[], expected: Expectation = {}): Verification {
  const chain = new Chain();
  for (const { path, bytes } of files) {
    const lines = bytes.toString("utf8").split("\n");
    // what follows the last line end: nothing, or a line that is not finished
    const rest = lines.pop() ?? "";
    for (const [index, line] of lines.entries()) if (!chain.add(line, { file: path, line: index + 1 })) break;
    if (rest !== "") chain.addUnfinished(rest, { file: path, line: lines.length + 1 });
  }
  return chain.end(expected, files.at(-1)?.path ?? "");
}

type Place = Pick<BrokenPlace, "file" | "line">;

class Chain {
  #entries = 0;
  #cutShort = 0;
  #first: AuditEntry | undefined;
  #last: AuditEntry | undefined;
  #broken: BrokenPlace | undefined;
  /** A line that is no entry: the note that follows must say so. */
  #unread: { readonly digest: string; readonly place: Place; readonly isWhole: boolean } | undefined;
  #lines = 0;
  readonly #hashes = new Set<string>();

  /** False once it is broken. */
  add(line: string, place: Place): boolean {
    if (this.#broken !== undefined) return false;
    this.#lines = place.line;
    const entry = parseEntry(line);
    const reason = entry === undefined ? this.#unreadable(line, place) : this.#misfit(entry);
    if (reason !== undefined) this.#broken = { ...(this.#unread?.place ?? place), reason };
    else if (entry !== undefined) this.#accept(entry);
    return this.#broken === undefined;
  }

  /** Nobody has noted it yet: the next entry does. */
  addUnfinished(text: string, place: Place): void {
    if (this.#broken !== undefined) return;
    if (this.#unread !== undefined) this.#broken = { ...this.#unread.place, reason: CHANGED };
    this.#unread = { digest: digestOf(text), place, isWhole: false };
    this.#lines = place.line;
  }

  end({ hash, head }: Expectation, file: string): Verification {
    if (this.#unread?.isWhole === true) this.#broken ??= { ...this.#unread.place, reason: CHANGED };
    this.#broken ??= this.#afterAll(file, hash, head);
    return {
      entries: this.#entries,
      first: endOf(this.#first),
      last: endOf(this.#last),
      before: (this.#first?.seq ?? 1) - 1,
      cutShort: this.#cutShort + (this.#unread === undefined ? 0 : 1),
      broken: this.#broken,
    };
  }

  #unreadable(line: string, place: Place): string | undefined {
    if (this.#unread !== undefined) return CHANGED;
    this.#unread = { digest: digestOf(line), place, isWhole: true };
    return undefined;
  }

  #misfit(entry: AuditEntry): string | undefined {
    const unread = this.#unread;
    if (unread !== undefined && !(entry.event === "note" && entry.after === unread.digest)) return CHANGED;
    if (entry.event === "note" && entry.missing !== undefined)
      return `entries up to number ${entry.missing.seq} were written before this one, and are not there`;
    if (this.#hashes.has(entry.hash)) return `it is entry ${entry.seq} again`;
    const last = this.#last ?? (entry.seq === 1 ? BEGIN : undefined);
    if (last === undefined) return undefined;
    if (entry.seq !== last.seq + 1) return `entry ${entry.seq} follows entry ${last.seq}`;
    if (entry.previous !== last.hash) return "it names another entry as the one before";
    return undefined;
  }

  #accept(entry: AuditEntry): void {
    if (this.#unread !== undefined) this.#cutShort += 1;
    this.#unread = undefined;
    this.#first ??= entry;
    this.#last = entry;
    this.#entries += 1;
    this.#hashes.add(entry.hash);
  }

  #afterAll(file: string, hash: string | undefined, head: ChainEnd | undefined): BrokenPlace | undefined {
    const place = { file, line: this.#lines + 1 };
    const last = endOf(this.#last) ?? BEGIN;
    if (head !== undefined && head.seq > last.seq)
      return { ...place, reason: `entries up to number ${head.seq} were written, and are not there` };
    if (head !== undefined && head.seq === last.seq && head.hash !== last.hash)
      return { ...place, reason: `entry ${head.seq} is not the one that was written` };
    if (hash !== undefined && !this.#hashes.has(hash))
      return { ...place, reason: `no entry has the hash ${hash}` };
    return undefined;
  }
}

const CHANGED = "it is not as it was written";

function endOf(entry: AuditEntry | undefined): ChainEnd | undefined {
  return entry === undefined ? undefined : { seq: entry.seq, hash: entry.hash };
}
