import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { makeDirectory, syncDirectory } from "../fs/atomic-file.js";
import { ifThere } from "../fs/if-there.js";
import { writeAll } from "../fs/write-all.js";
import type { KeyUse } from "./audit-log.js";
import { BEGIN, type ChainEnd, digestOf, entryAfter, type Frame, type LogNote, parseEntry } from "./entry.js";

/** Bytes; no entry is longer, and what lies before the last one is not read. */
const TAIL = 256 * 1024;
const LINE_END = 0x0a;

/** Where the last entry's number and hash are kept besides: in a file of its own beside the log. */
function headPath(path: string): string {
  return `${path}.head`;
}

/**
 * Appends entries to the log, each with the hash of the one before, in one write; on stable storage when it returns. The
 * caller holds the lock. A log that was rotated away goes on in a new file. What a power cut has torn is closed off
 * with a note; entries that were written and are gone are noted too.
 * @throws Node's system errors; what was there before is as it was, or has an unfinished line behind it
 */
export function appendEntries(path: string, uses: readonly KeyUse[], frame: Frame): ChainEnd {
  const fd = openLog(path);
  try {
    const { size } = fstatSync(fd);
    const tail = readTail(fd, size);
    const { end, notes, closing } = state(path, tail);
    const lines: string[] = [];
    let last = end;
    for (const what of [...notes, ...uses]) {
      const entry = entryAfter(last, what, frame);
      lines.push(`${entry.line}\n`);
      last = entry.end;
    }
    appendWhole(fd, size, `${closing}${lines.join("")}`);
    writeHead(path, last);
    return last;
  } finally {
    closeSync(fd);
  }
}

/** The last entry that this host has written, as far as its log or the file beside it tells. */
export function readHead(path: string): ChainEnd | undefined {
  const text = ifThere(() => readStart(headPath(path)));
  const [, seq, hash] = /^([0-9]{1,15}) ([0-9a-f]{64})\n/.exec(text ?? "") ?? [];
  return seq === undefined || hash === undefined ? undefined : { seq: Number(seq), hash };
}

/** @throws system errors: for who must know before he uses a key */
export function tryOpenLog(path: string): void {
  closeSync(openLog(path));
}

function openLog(path: string): number {
  makeDirectory(dirname(path), 0o750);
  const flags = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const there = ifThere(() => openSync(path, flags));
  if (there !== undefined) return there;
  const fd = openSync(path, flags | constants.O_CREAT, 0o600);
  syncDirectory(dirname(path));
  return fd;
}

interface LogState {
  readonly end: ChainEnd;
  readonly notes: readonly LogNote[];
  /** What ends an unfinished line. */
  readonly closing: "" | "\n";
}

function state(path: string, tail: Buffer): LogState {
  const head = readHead(path);
  if (tail.length === 0) return { end: later(head, lastOfRotated(path)) ?? BEGIN, notes: [], closing: "" };
  const { last, line, isWhole } = lastLine(tail);
  const end = parseEntry(last);
  const before = end ?? lastEntryIn(tail.subarray(0, line));
  const closing = isWhole ? "" : "\n";
  const notes: LogNote[] = [];
  const digest = digestOf(tail.subarray(line, bodyEnd(tail)));
  if (!isWhole) notes.push({ event: "note", detail: "the line before was cut short", after: digest });
  else if (end === undefined)
    notes.push({ event: "note", detail: "the line before is no entry", damaged: digest });
  const from = before ?? BEGIN;
  if (head === undefined || head.seq <= from.seq) return { end: from, notes, closing };
  // a number that was given away is not given away again
  return { end: { ...from, seq: head.seq }, notes: [...notes, missingUpTo(head)], closing };
}

function missingUpTo(missing: ChainEnd): LogNote {
  return {
    event: "note",
    detail: `entries up to number ${missing.seq} were written and are not here`,
    missing,
  };
}

/** The file's last line, as text and as the place where it begins. */
function lastLine(tail: Buffer): { last: string; line: number; isWhole: boolean } {
  const isWhole = tail.at(-1) === LINE_END;
  const line = tail.lastIndexOf(LINE_END, bodyEnd(tail) - 1) + 1;
  // a whole entry whose line end alone is missing is an entry that nobody was told of: it is closed off too
  return { last: isWhole ? tail.toString("utf8", line, bodyEnd(tail)) : "", line, isWhole };
}

/** Without the end of the last line. */
function bodyEnd(tail: Buffer): number {
  return tail.at(-1) === LINE_END ? tail.length - 1 : tail.length;
}

function lastEntryIn(bytes: Buffer): ChainEnd | undefined {
  const lines = bytes.toString("utf8").split("\n").toReversed();
  for (const line of lines) {
    const entry = parseEntry(line);
    if (entry !== undefined) return { seq: entry.seq, hash: entry.hash };
  }
  return undefined;
}

/** For a power cut that has taken what the file beside the log said, before the log was rotated away. */
function lastOfRotated(path: string): ChainEnd | undefined {
  const fd = ifThere(() =>
    openSync(`${path}.1`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  );
  if (fd === undefined) return undefined;
  try {
    return lastEntryIn(readTail(fd, fstatSync(fd).size));
  } finally {
    closeSync(fd);
  }
}

function later(one: ChainEnd | undefined, other: ChainEnd | undefined): ChainEnd | undefined {
  return (one?.seq ?? 0) >= (other?.seq ?? 0) ? one : other;
}

function readTail(fd: number, size: number): Buffer {
  const bytes = Buffer.alloc(Math.min(size, TAIL));
  return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, size - bytes.length));
}

/** All of it or nothing, where the disk is full: half a line would be taken for what a power cut has torn. */
function appendWhole(fd: number, size: number, text: string): void {
  try {
    writeAll(fd, text);
    fsyncSync(fd);
  } catch (thrown) {
    ifThere(() => {
      ftruncateSync(fd, size);
    });
    throw thrown;
  }
}

/**
 * Not synced: after a power cut it may be behind the log, never before it. Of one length, so that it needs no other
 * file's name; a log without it is whole.
 */
function writeHead(path: string, { seq, hash }: ChainEnd): void {
  ifThere(() => {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
    const fd = openSync(headPath(path), flags, 0o600);
    try {
      const length = writeSync(fd, `${seq} ${hash}\n`, 0);
      ftruncateSync(fd, length);
    } finally {
      closeSync(fd);
    }
  });
}

function readStart(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const bytes = Buffer.alloc(128);
    return bytes.toString("latin1", 0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}
