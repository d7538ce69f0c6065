import { Command, Option } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import type { StatusOutput } from "../generated/status.js";
import validate from "../generated/validate-status.cjs";
import { formatBytes } from "../plan/bytes.js";
import type { GuestStatus } from "../status/verdict.js";
import { showLeakMap, showLeaks } from "./leak-map.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";
import { everyGuest, see } from "./see-guests.js";
import { showDiskProblems } from "./show-disk-problems.js";
import { prove, STATUS_FORMATS, type StatusFormat } from "./status-proof.js";

interface Options {
  readonly all?: true;
  readonly format: StatusFormat;
  readonly json?: true;
  readonly output?: string;
}

export function statusCommand(): Command {
  return new Command("status")
    .summary("which disks are encrypted")
    .description(
      "Shows every disk as its header, its key record and the guest's configuration tell. Of one guest also its leak map: " +
        "where data of it are besides its encrypted disks, what protects them there, and what to do. With --all for " +
        "auditors and monitoring: what was asked beside what is true, and an exit code that says whether they agree.",
    )
    .argument("[guest]", "name, UUID or VMID; all guests without it")
    .option("--all", "all guests, keys and keystores; exit code 5 if a disk is not as it was asked to be")
    .addOption(
      new Option("--format <format>", "csv and prometheus with --all")
        .choices(STATUS_FORMATS)
        .default("table"),
    )
    .option("--json", "for machines: --format json")
    .option("--output <file>", "with --all: write this file, whole or not at all")
    .action(showStatus);
}

async function showStatus(name: string | undefined, options: Options): Promise<void> {
  const format = options.json ? "json" : options.format;
  refuseMisfit(name, format, options);
  const container = open();
  const seen = name === undefined ? await everyGuest(container) : [await see(container, name)];
  if (options.all) {
    await prove(container, seen, format, options.output);
    return;
  }
  const guests = seen.map(({ status }) => status);
  if (format === "json") {
    printJson(validate, { guests } satisfies StatusOutput);
    return;
  }
  if (guests.length === 0) {
    print("this host has no guests");
    return;
  }
  show(guests);
  const [guest] = guests;
  if (name !== undefined && guest !== undefined) showLeakMap(guest);
  else showLeaks(seen);
}

/** @throws USAGE */
function refuseMisfit(name: string | undefined, format: StatusFormat, { all, output }: Options): void {
  const isOfAll = output !== undefined || format === "csv" || format === "prometheus";
  if (all && name !== undefined)
    throw new LuksmithError("USAGE", { what: "--all is for all guests", hint: "leave the guest out" });
  if (isOfAll && !all)
    throw new LuksmithError("USAGE", {
      what: output === undefined ? `--format ${format} is for all guests` : "--output is for all guests",
      hint: "say --all as well",
    });
}

function show(guests: readonly GuestStatus[]): void {
  printTable(
    ["guest", "disk", "protection", "opened by", "size in guest", "key", "volume"],
    guests.flatMap(({ name, disks }) =>
      disks.map(({ device, protection, openedBy, guestSize, key, volume }) => {
        return [
          name,
          device,
          protection,
          openedBy ?? "",
          guestSize === undefined ? "" : formatBytes(guestSize),
          key ?? "",
          volume,
        ];
      }),
    ),
  );
  for (const { name, disks } of guests) {
    for (const { device, keystore = "", cachedAt } of disks) {
      if (cachedAt === undefined) continue;
      print(
        `\n${name} ${device}: keystore ${keystore} does not answer; the cache has the key as of ${cachedAt}`,
      );
    }
  }
  showDiskProblems(guests);
  for (const { name, running, problem } of guests) {
    if (problem === undefined) continue;
    print(`\n${name} ${running ? "runs, and would not start again" : "would not start"}: ${problem.what}`);
    if (problem.why !== undefined) print(`cause: ${problem.why}`);
    if (problem.hint !== undefined) print(`hint: ${problem.hint}`);
  }
}
