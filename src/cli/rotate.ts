import { Command, InvalidArgumentError, Option } from "commander";
import type { Container } from "../di.js";
import { problemOf } from "../error/problem.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { RotateOutput } from "../generated/rotate.js";
import validate from "../generated/validate-rotate.cjs";
import { isOlderThan, parseDays } from "../rotate/age.js";
import { KeyUses } from "../rotate/key-uses.js";
import {
  type DiskResult,
  rotateGuest,
  type RotationResources,
  type RotationWish,
} from "../rotate/rotate-guest.js";
import { allGuests, type Rotation, rotateGuests, type WantedGuest } from "../rotate/rotate-guests.js";
import * as t from "../tokens.js";
import { type ConversionOptions, parseRate } from "./conversion-options.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";
import { rotateDeep } from "./rotate-deep.js";

interface Options extends Pick<ConversionOptions, "to" | "pool" | "rate" | "json" | "dryRun"> {
  readonly disk?: readonly string[];
  readonly all?: true;
  readonly olderThan?: number;
  readonly due?: true;
  readonly deep?: true;
}

export function rotateCommand(): Command {
  return new Command("rotate")
    .summary("give encrypted disks new passphrases")
    .description(
      "Replaces the passphrases of disks, whether their guests run or not: header and keystore have the new one, and " +
        "the former one opens the disks no more. Finishes first what an earlier rotation has left. A disk that was " +
        "restored from an old copy is brought to its current passphrase.",
    )
    .argument("[guest...]", "names or UUIDs")
    .option("--disk <device>", "only this disk of the guest; may be repeated", (dev, devs?: string[]) => [
      ...(devs ?? []),
      dev,
    ])
    .option("--all", "every guest of this host")
    .addOption(
      new Option("--older-than <age>", "only passphrases of this age, in days or weeks: 90d, 12w").argParser(
        parseAge,
      ),
    )
    .addOption(
      new Option("--due", "only passphrases older than the settings' rotation.afterDays").conflicts(
        "olderThan",
      ),
    )
    .option("--deep", "a new volume key: all of the disk is copied to a new volume")
    .option("--to <volume>", "with --deep: absolute path of the new volume; beside the old one without it")
    .option("--pool <name>", "with --deep: thin pool that a new logical volume is made from")
    .option("--rate <bytes>", "with --deep: bytes a second at most: 50M", parseRate)
    .option("--dry-run", "say what would be done, change nothing")
    .option("--json", "for machines; with --deep, a JSON object a line")
    .action(rotate);
}

async function rotate(names: readonly string[], options: Options): Promise<void> {
  refuseMixture(names, options);
  const [guest] = names;
  if (options.deep && guest !== undefined) {
    await rotateDeep(guest, options);
    return;
  }
  const container = open();
  const logger = container.resolve(t.LOGGER);
  try {
    const wish = wishOf(options, container);
    const done = wish === undefined ? NOTHING : await rotateWanted(names, options, wish, container);
    for (const result of done.disks) log(result, container);
    for (const { guest, error } of done.failures) logger.error("rotate failed", { guest, error });
    if (options.json) printJson(validate, outputOf(done));
    else show(done);
    const [failed] = errorsOf(done);
    if (failed !== undefined) process.exitCode = failed.exitCode;
  } finally {
    await container.resolve(t.KEYRING).settled();
    await logger.close();
  }
}

const NOTHING: Rotation = { disks: [], failures: [], passed: [] };

function parseAge(text: string): number {
  const days = parseDays(text);
  if (days !== undefined) return days;
  throw new InvalidArgumentError("It must be a number of days or weeks: 90d, 12w.");
}

/** @throws USAGE */
function refuseMixture(names: readonly string[], options: Options): void {
  const what = mixtureOf(names, options);
  if (what !== undefined) throw new LuksmithError("USAGE", { what });
}

function mixtureOf(
  names: readonly string[],
  { all, disk, deep, olderThan, due, ...how }: Options,
): string | undefined {
  if (all === undefined && names.length === 0) return "name a guest, or say --all";
  if (all !== undefined && names.length > 0) return "--all is every guest: name none beside it";
  if (disk !== undefined && names.length !== 1) return "--disk is of one guest: name that alone";
  if (deep !== undefined && (names.length !== 1 || olderThan !== undefined || due !== undefined))
    return "--deep copies whole disks: name one guest, whatever the age of its keys";
  const isConversion = how.to !== undefined || how.pool !== undefined || how.rate !== undefined;
  return isConversion && deep === undefined ? "--to, --pool and --rate are of --deep" : undefined;
}

/** Undefined where the settings let no passphrase become too old. */
function wishOf(
  { disk, all, olderThan, due, dryRun }: Options,
  container: Container,
): RotationWish | undefined {
  const days = due ? container.resolve(t.SETTINGS).rotation.afterDays : olderThan;
  if (due && days === 0) return undefined;
  const now = container.resolve(t.CLOCK).now();
  return {
    manner: dryRun ? "dry-run" : "apply",
    ...(disk && { disks: disk }),
    ...(all && { scope: "all" as const }),
    ...(days !== undefined && { isDue: (record) => isOlderThan(record, days, now) }),
  };
}

async function rotateWanted(
  names: readonly string[],
  { all }: Options,
  wish: RotationWish,
  container: Container,
): Promise<Rotation> {
  const resources = rotationResources(container);
  const { host } = resources;
  const guests: WantedGuest[] = all
    ? await allGuests(host)
    : [...new Set(names)].map((name) => ({ nameOrId: name, called: name }));
  const locks = container.resolve(t.GUEST_LOCKS);
  return await rotateGuests(guests, wish, { host, locks }, async (id) => {
    const disks = await rotateGuest(id, wish, resources);
    if (disks.length > 0 || all) return disks;
    throw new LuksmithError("DISK_NOT_ENCRYPTED", { what: "the guest has no disk with a key" });
  });
}

function rotationResources(container: Container): RotationResources {
  const host = container.resolve(t.HOST);
  let uses: Promise<KeyUses> | undefined;
  return {
    host,
    runner: container.resolve(t.COMMAND_RUNNER),
    keyring: container.resolve(t.KEYRING),
    storage: container.resolve(t.STORAGE),
    keyslots: container.resolve(t.KEYSLOTS),
    vault: container.resolve(t.HEADER_VAULT),
    audit: container.resolve(t.AUDIT),
    clock: container.resolve(t.CLOCK),
    logger: container.resolve(t.LOGGER),
    preparation: container.resolve(t.PREPARATION),
    locks: container.resolve(t.KEY_LOCKS),
    // of all guests at once, since each of them may use each key
    uses: () => (uses ??= KeyUses.of(host)),
  };
}

function log({ guest: { name: guest }, disk, uuid: key, result }: DiskResult, container: Container): void {
  const logger = container.resolve(t.LOGGER);
  const about = { guest, disk, key };
  if (result.kind === "failed") logger.error("rotate failed", { ...about, error: result.error });
  else if (result.kind === "rotated" || result.kind === "finished" || result.kind === "adopted")
    logger.info(`rotate done: ${result.kind}`, about);
}

function outputOf({ disks, failures }: Rotation): RotateOutput {
  return {
    disks: disks.map(({ guest, disk, uuid: key, volume, result }) => ({
      ...{ guest: { ...guest }, disk, key, volume, outcome: result.kind },
      ...(result.kind === "skipped" && { reason: result.why }),
      ...("record" in result && { since: result.record.rotatedAt ?? result.record.createdAt }),
      ...(result.kind === "failed" && { problem: problemOf(result.error) }),
    })),
    ...(failures.length > 0 && {
      guests: failures.map(({ guest, error }) => ({ guest, problem: problemOf(error) })),
    }),
  };
}

function errorsOf({ disks, failures }: Rotation): LuksmithError[] {
  return [
    ...failures.map(({ error }) => error),
    ...disks.flatMap(({ result }) => (result.kind === "failed" ? [result.error] : [])),
  ];
}

function show(done: Rotation): void {
  for (const disk of done.disks) {
    const text = render(disk);
    if (text !== undefined) print(text);
  }
  for (const { guest, error } of done.passed) print(`${guest} was left as it is: ${error.message}`);
  const worked = done.passed.length > 0 || done.disks.some(({ result }) => result.kind !== "recent");
  if (!worked && done.failures.length === 0) print("nothing to do: no passphrase is old enough");
}

function render({ guest, disk, uuid, volume, result }: DiskResult): string | undefined {
  const start = `${guest.name}: ${disk}`;
  switch (result.kind) {
    case "rotated":
      return `${start} has a new passphrase`;
    case "finished":
      return `${start} has a new passphrase: an earlier rotation was finished`;
    case "adopted":
      return `${start}: volume ${volume} was an old copy: brought to the current passphrase`;
    case "would-rotate": {
      const { record } = result;
      const since = record.rotatedAt ?? record.createdAt;
      return record.rotation === undefined
        ? `${start}: would replace the passphrase of key ${uuid}, which it has since ${since}`
        : `${start}: would finish the rotation of key ${uuid} that began at ${record.rotation.startedAt}`;
    }
    case "skipped":
      return `${start} was left as it is: ${result.why}`;
    case "recent":
    case "failed":
      return undefined;
  }
}
