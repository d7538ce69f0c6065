import { hostname } from "node:os";
import type { Container } from "../di.js";
import { EXIT } from "../error/catalogue.js";
import { LuksmithError, renderError } from "../error/luksmith-error.js";
import { replaceFile } from "../fs/atomic-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import validate from "../generated/validate-status.cjs";
import { toCsv } from "../status/csv.js";
import { keystoreStatuses } from "../status/keystores.js";
import { toPrometheus, type WholeStatus } from "../status/prometheus.js";
import { withSharedVolumeKeys } from "../status/shared-volume-keys.js";
import { type DiskStatus, isUnreadable, keyAge, summaryOf, type Summary } from "../status/verdict.js";
import { CLOCK } from "../tokens.js";
import type { SeenGuest } from "./leak-map.js";
import { showLeaks } from "./leak-map.js";
import { print, printTable, renderJson } from "./output.js";
import { showDiskProblems } from "./show-disk-problems.js";

export const STATUS_FORMATS = ["table", "json", "csv", "prometheus"] as const;
export type StatusFormat = (typeof STATUS_FORMATS)[number];

/** Others than root may read a file of metrics, as its collector needs to; no secret is in it. */
const MODE = 0o644;
const SECONDS_OF_DAY = 86_400;

/**
 * What was asked beside what is true, for all guests, keys and keystores; and the exit code that says whether they
 * agree: `unavailable` where something could not be found out.
 * @throws GUESTS_UNPROTECTED, after everything was shown, but not after JSON on standard output; OUTPUT_UNWRITABLE
 */
export async function prove(
  container: Container,
  seen: readonly SeenGuest[],
  format: StatusFormat,
  output: string | undefined,
): Promise<void> {
  const guests = await withSharedVolumeKeys(container, seen);
  const now = container.resolve(CLOCK).now();
  const whole: WholeStatus = {
    takenAt: now.toISOString(),
    host: hostname(),
    summary: summaryOf(guests),
    keystores: await keystoreStatuses(container),
    guests,
  };
  if (format === "table") show(whole, seen, now);
  else write(rendered(whole, format, now), output);
  const { summary, keystores } = whole;
  const unprotected = unprotectedIn(whole);
  if (unprotected !== undefined) {
    // whoever reads JSON on standard output has it all in that one document
    if (format !== "json" || output !== undefined) throw unprotected;
    process.stderr.write(`${renderError(unprotected)}\n`);
    process.exitCode = unprotected.exitCode;
    return;
  }
  const isProven = summary.disks.unproven === 0 && summary.unreadable === 0;
  if (!isProven || keystores.some(({ answers }) => !answers)) process.exitCode = EXIT.unavailable;
}

function rendered(whole: WholeStatus, format: Exclude<StatusFormat, "table">, now: Date): string {
  switch (format) {
    case "json":
      return renderJson(validate, whole);
    case "csv":
      return toCsv(whole, now);
    case "prometheus":
      return toPrometheus(whole);
  }
}

function write(text: string, output: string | undefined): void {
  if (output === undefined) {
    process.stdout.write(text);
    return;
  }
  try {
    replaceFile(output, Buffer.from(text), MODE);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("OUTPUT_UNWRITABLE", { what: `cannot write ${output}`, why: failure.text });
  }
}

function show({ guests, keystores, summary }: WholeStatus, seen: readonly SeenGuest[], now: Date): void {
  print(summarized(summary));
  for (const { name, answers, problem } of keystores)
    print(answers ? `keystore ${name} answers` : `keystore ${name}: ${problem?.what ?? "does not answer"}`);
  if (guests.some(({ disks }) => disks.length > 0)) print("");
  const rows = guests.flatMap(({ name, disks }) =>
    disks.map((disk) => [
      ...[name, disk.device, disk.verdict, disk.askedBy.join(", "), disk.format ?? ""],
      ...[daysText(keyAge(disk, now)), disk.keystore ?? "", copyText(disk), drillText(disk)],
    ]),
  );
  const heading = ["guest", "disk", "verdict", "asked by", "format", "key age", "keystore"];
  if (rows.length > 0) printTable([...heading, "header copy", "last drill"], rows);
  showDiskProblems(guests);
  for (const guest of guests)
    if (isUnreadable(guest)) print(`\n${guest.name} could not be looked at: ${guest.problem?.what ?? ""}`);
  for (const { name, disks, problem } of guests)
    if (disks.length > 0 && problem !== undefined) print(`\n${name} would not start: ${problem.what}`);
  showLeaks(seen);
}

function summarized({ guests, unreadable, disks }: Summary): string {
  const all = Object.values(disks).reduce((sum, count) => sum + count, 0);
  const words: [number, string][] = [
    [disks.protected, "protected"],
    [disks.unprotected, "plain although encryption is asked for"],
    [disks.pending, "to be formatted at the next start"],
    [disks.unproven, "unproven"],
    [disks.foreign, "encrypted by somebody else"],
    [disks.plain, "plain, as nobody asks for more"],
    [disks.shredded, "shredded"],
  ];
  const parts = words.flatMap(([count, word]) => (count === 0 ? [] : [`${count} ${word}`]));
  const [noun, lacking] = [
    guests === 1 ? "guest" : "guests",
    unreadable > 0 ? ` (${unreadable} unreadable)` : "",
  ];
  const head = `${guests} ${noun}${lacking}, ${all} ${all === 1 ? "disk" : "disks"}`;
  return parts.length === 0 ? head : `${head}: ${parts.join(", ")}`;
}

function daysText(seconds: number | undefined): string {
  if (seconds === undefined) return "";
  const days = Math.floor(seconds / SECONDS_OF_DAY);
  return days === 1 ? "1 day" : `${days} days`;
}

function dayOf(time: string): string {
  return time.slice(0, "2026-01-31".length);
}

function copyText({ headerCopyAt, key }: DiskStatus): string {
  if (headerCopyAt !== undefined) return dayOf(headerCopyAt);
  return key === undefined ? "" : "none";
}

function drillText({ lastDrill, key }: DiskStatus): string {
  if (lastDrill !== undefined) return `${lastDrill.result} ${dayOf(lastDrill.at)}`;
  return key === undefined ? "" : "never";
}

function unprotectedIn({ guests, summary }: WholeStatus): LuksmithError | undefined {
  const { unprotected } = summary.disks;
  if (unprotected === 0) return undefined;
  const named = guests.flatMap(({ name, disks }) =>
    disks.filter(({ verdict }) => verdict === "unprotected").map(({ device }) => `${name} ${device}`),
  );
  return new LuksmithError("GUESTS_UNPROTECTED", {
    what: `${unprotected} ${unprotected === 1 ? "disk is" : "disks are"} plain although encryption is asked for`,
    why: named.join(", "),
    hint: "luksmith protect GUEST --convert encrypts a disk that holds data",
  });
}
