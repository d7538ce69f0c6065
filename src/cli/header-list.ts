import { Command } from "commander";
import type { HeaderListOutput } from "../generated/header-list.js";
import validate from "../generated/validate-header-list.cjs";
import type { HeaderBackup } from "../headers/header-vault.js";
import { HEADER_VAULT } from "../tokens.js";
import {
  describeCopy,
  describeTarget,
  type HeaderOptions,
  type KnownTarget,
  knownTargets,
  nameOf,
  withTarget,
} from "./header-options.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

export function listCommand(): Command {
  return withTarget(new Command("list"))
    .summary("list the copies of a header")
    .description("Lists the copies of LUKS headers that this host has, the newest first.")
    .option("--json", "for machines")
    .action(list);
}

async function list(what: string, disk: string | undefined, options: HeaderOptions): Promise<void> {
  const container = open();
  const vault = container.resolve(HEADER_VAULT);
  const targets = await knownTargets(container, what, disk, options);
  const found = targets.map((target) => ({ target, copies: vault.backups(target.uuid) }));
  if (options.json) printCopies(found);
  else found.forEach(show);
}

interface Found {
  readonly target: KnownTarget;
  readonly copies: readonly HeaderBackup[];
}

export function printCopies(found: readonly Found[]): void {
  printJson(validate, {
    volumes: found.map(({ target, copies }) => {
      return { ...describeTarget(target), copies: copies.map(describeCopy) };
    }),
  } satisfies HeaderListOutput);
}

function show({ target, copies }: Found, index: number): void {
  if (index > 0) print("");
  print(`${nameOf(target)} (key ${target.uuid})`);
  if (copies.length === 0) {
    print("no copies");
    return;
  }
  printTable(
    ["taken", "why", "file"],
    copies.map(({ takenAt, reason, path }) => [takenAt.toISOString(), reason, path]),
  );
}
