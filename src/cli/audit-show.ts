import { Command, InvalidArgumentError } from "commander";
import { type AuditEntry, parseEntry } from "../audit/entry.js";
import { logWithRotated } from "../audit/log-files.js";
import { userNames } from "../audit/user-names.js";
import type { Container } from "../di.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { AuditShowOutput } from "../generated/audit-show.js";
import validate from "../generated/validate-audit-show.cjs";
import type { GuestSummary } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { HOST, SETTINGS } from "../tokens.js";
import { parseKeyArgument } from "./key-argument.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

interface Options {
  readonly guest?: string;
  readonly key?: KeyUuid;
  readonly since?: Date;
  readonly json?: true;
}

export function auditShowCommand(): Command {
  return new Command("show")
    .summary("show who used which key, and when")
    .description(
      "Shows the entries of this host's audit log, the oldest first. What is no entry is left out.",
    )
    .option("--guest <guest>", "of this guest: name, UUID or VMID")
    .option("--key <uuid>", "of this key", parseKeyArgument)
    .option("--since <time>", "from this day or time on: 2026-01-31, 2026-01-31T14:00Z", parseTime)
    .option("--json", "for machines")
    .action(showEntries);
}

async function showEntries(options: Options): Promise<void> {
  const container = open();
  const all = logWithRotated(container.resolve(SETTINGS).audit.file)
    .flatMap(({ bytes }) => bytes.toString("utf8").split("\n"))
    .flatMap((line) => parseEntry(line) ?? []);
  const entries = all.filter((entry) => isWanted(entry, options));
  if (entries.length === 0 && options.guest !== undefined) await requireKnown(options.guest, all, container);
  if (options.json) printJson(validate, { entries } satisfies AuditShowOutput);
  else if (entries.length === 0) print("the audit log has no such entry");
  else printTable(HEADING, rowsOf(entries));
}

/** A slip of the pen must not look like a guest of which no key was ever used. @throws GUEST_NOT_FOUND */
async function requireKnown(
  guest: string,
  entries: readonly AuditEntry[],
  container: Container,
): Promise<void> {
  if (entries.some((entry) => isWanted(entry, { guest }))) return;
  const guests = await guestsHere(container);
  if (guests === undefined || guests.some(({ id, name }) => id === guest || name === guest)) return;
  throw new LuksmithError("GUEST_NOT_FOUND", {
    what: `the audit log has no entry of a guest ${printable(guest)}`,
    why: "this host has no such guest either",
    hint: "luksmith audit show names the guests that it has entries of",
  });
}

/** Undefined where the host manager cannot be asked: the log is read without it. */
async function guestsHere(container: Container): Promise<readonly GuestSummary[] | undefined> {
  try {
    return await container.resolve(HOST).listGuests();
  } catch (thrown) {
    asLuksmithError(thrown);
    return undefined;
  }
}

function parseTime(text: string): Date {
  const time = new Date(text);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError("It must be a day or a time: 2026-01-31, 2026-01-31T14:00Z.");
}

function isWanted(
  entry: AuditEntry,
  { guest, key, since }: Pick<Options, "guest" | "key" | "since">,
): boolean {
  if (since !== undefined && new Date(entry.time) < since) return false;
  if (guest === undefined && key === undefined) return true;
  if (entry.event === "note") return false;
  const isOfGuest = guest === undefined || entry.guest?.id === guest || entry.guest?.name === guest;
  return isOfGuest && (key === undefined || entry.key === key);
}

const HEADING = ["time", "event", "result", "guest", "disk", "key", "user", "command", "detail"];

function rowsOf(entries: readonly AuditEntry[]): string[][] {
  const users = userNames();
  return entries.map((entry) => {
    const { time, event, by } = entry;
    const who = [users.get(by.uid) ?? String(by.uid), by.command];
    if (entry.event === "note") return [time, event, "", "", "", "", ...who, entry.detail];
    const { result, guest, disk = "", key, code, detail } = entry;
    const more = [code, detail].filter((part) => part !== undefined).join(", ");
    return [time, event, result, guest?.name ?? "", disk, key, ...who, more];
  });
}
