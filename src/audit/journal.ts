import { existsSync } from "node:fs";
import { startDetached } from "../exec/detached.js";
import { visible } from "../error/printable.js";
import type { KeyUse } from "./audit-log.js";

const JOURNAL_SOCKET = "/run/systemd/journal/socket";
/** `journalctl MESSAGE_ID=…` finds the uses of keys, whatever language or version wrote them. */
export const KEY_USE_MESSAGE = "8f0d4b0c6a9e4d1f9b6c2f6f0e0a7c35";
/** syslog(3): notice, or warning for what was refused or has failed. */
const PRIORITY = { done: 5, refused: 4, failed: 4 } as const;

interface Journal {
  /** Path of what is there where a journal is. */
  readonly socket: string;
  readonly start: typeof startDetached;
}

/**
 * Gives what was recorded to the host's journal, in one entry with a field for each value: a key that was used beside
 * others has a LUKSMITH_KEY of its own. Nobody waits for it, and what the journal does not take is in the log.
 */
export function tellJournal(
  uses: readonly KeyUse[],
  end: { readonly seq: number; readonly hash: string },
  { socket, start }: Journal = { socket: JOURNAL_SOCKET, start: startDetached },
): void {
  if (!existsSync(socket)) return;
  start("logger", ["--journald"], journalFields(uses, end));
}

/** As logger(1) takes them: a field a line. */
function journalFields(
  uses: readonly KeyUse[],
  { seq, hash }: { readonly seq: number; readonly hash: string },
): string {
  const priority = Math.min(...uses.map(({ result }) => PRIORITY[result]));
  const fields: (readonly [string, string | undefined])[] = [
    ["MESSAGE_ID", KEY_USE_MESSAGE],
    ["SYSLOG_IDENTIFIER", "luksmith"],
    ["PRIORITY", String(priority)],
    ["MESSAGE", uses.map(sentence).join("; ")],
    ["LUKSMITH_SEQ", String(seq)],
    ["LUKSMITH_HASH", hash],
    ...uses.flatMap(fieldsOf),
  ];
  const written = new Set(fields.flatMap(([name, value]) => (value ? [`${name}=${oneLine(value)}`] : [])));
  return `${[...written].join("\n")}\n`;
}

function fieldsOf(use: KeyUse): (readonly [string, string | undefined])[] {
  return [
    ["LUKSMITH_EVENT", use.event],
    ["LUKSMITH_RESULT", use.result],
    ["LUKSMITH_KEY", use.key],
    ["LUKSMITH_GUEST", use.guest?.name],
    ["LUKSMITH_GUEST_ID", use.guest?.id],
    ["LUKSMITH_DISK", use.disk],
    ["LUKSMITH_VOLUME", use.volume],
    ["LUKSMITH_KEYSTORE", use.keystore],
    ["LUKSMITH_CODE", use.code],
  ];
}

/** `provide done: key 7f3a… of disk vda of guest web1`. */
export function sentence({ event, result, key, disk, guest, code, detail }: KeyUse): string {
  const of = [disk && ` of disk ${disk}`, guest && ` of guest ${guest.name}`].filter(Boolean).join("");
  const more = [code, detail].filter(Boolean).join(", ");
  return oneLine(`${event} ${result}: key ${key}${of}${more === "" ? "" : ` (${more})`}`);
}

/** A line end in a guest's name would begin a field of its own. */
function oneLine(text: string): string {
  return visible(text).replaceAll("\n", "\\n");
}
