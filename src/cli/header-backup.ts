import { Command } from "commander";
import type { HeaderBackup } from "../headers/header-vault.js";
import { volumeName } from "../storage/volume.js";
import { HEADER_VAULT, STORAGE } from "../tokens.js";
import { printCopies } from "./header-list.js";
import { type HeaderOptions, type KnownTarget, knownTargets, nameOf, withTarget } from "./header-options.js";
import { open } from "./open.js";
import { print } from "./output.js";

export function backupCommand(): Command {
  return withTarget(new Command("backup"))
    .summary("keep a copy of a header")
    .description(
      "Keeps a copy of LUKS headers as they are now, unless the newest copy is the same. The guest may run.",
    )
    .option("--json", "for machines")
    .option("--dry-run", "say what would be done, change nothing")
    .action(backup);
}

async function backup(
  what: string,
  disk: string | undefined,
  options: HeaderOptions & { readonly dryRun?: true },
): Promise<void> {
  const container = open();
  const [storage, vault] = [container.resolve(STORAGE), container.resolve(HEADER_VAULT)];
  const kept: { target: KnownTarget; copies: HeaderBackup[] }[] = [];
  for (const target of await knownTargets(container, what, disk, options)) {
    const { volume, uuid } = target;
    const header = await (await storage.backendFor(volume)).readHeader(volume);
    if (options.dryRun) {
      print(`${nameOf(target)}: would keep a copy of its ${header.length} bytes`);
      continue;
    }
    const copy = await vault.keep({ uuid, volume: volumeName(volume), header, reason: "asked" });
    kept.push({ target, copies: [copy] });
  }
  if (options.dryRun) return;
  if (options.json) printCopies(kept);
  else for (const { target, copies } of kept) print(`${nameOf(target)}: ${copies[0]?.path ?? ""}`);
}
