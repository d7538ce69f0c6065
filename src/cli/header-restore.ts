import { Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { HeaderRestoreOutput } from "../generated/header-restore.js";
import validate from "../generated/validate-header-restore.cjs";
import type { HeaderBackup } from "../headers/header-vault.js";
import { refuseOtherHosts } from "../headers/refuse-other-hosts.js";
import { refuseUsed } from "../headers/refuse-used.js";
import { restoreVolume, type Restored } from "../headers/restore-volume.js";
import { AUDIT, COMMAND_RUNNER, GUEST_LOCKS, HEADER_VAULT, HOST, KEY_LOCKS } from "../tokens.js";
import { guestWord } from "../plan/commands.js";
import { confirm } from "./confirm.js";
import {
  describeCopy,
  describeTarget,
  headerPorts,
  type HeaderOptions,
  type KnownTarget,
  knownTargets,
  nameOf,
  withTarget,
} from "./header-options.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

interface Options extends HeaderOptions {
  readonly copy?: string;
  readonly onlyThisHostUsesIt?: true;
  readonly yes?: true;
  readonly dryRun?: true;
}

export function restoreCommand(): Command {
  return withTarget(new Command("restore"))
    .summary("write a copy of a header back")
    .description(
      "Writes a copy of a LUKS header to the volume that has lost its own, of a guest that is shut off. Proves first that " +
        "the key's passphrase opens the copy, keeps what it overwrites, and proves afterwards that it opens the volume.",
    )
    .option(
      "--copy <copy>",
      "time or file of the copy as luksmith header list shows it; the newest without it",
    )
    .option("--only-this-host-uses-it", "no guest of another host has the block device open: you have looked")
    .option("--yes", "do not ask")
    .option("--json", "for machines")
    .option("--dry-run", "say what would be done, change nothing")
    .action(restore);
}

async function restore(what: string, disk: string | undefined, options: Options): Promise<void> {
  const container = open();
  const targets = await knownTargets(container, what, disk, options);
  const [target, another] = targets;
  if (target === undefined || another !== undefined) {
    throw new LuksmithError("USAGE", {
      what: "one header is restored at a time",
      why: `the guest has ${targets.map((each) => each.disk ?? "").join(", ")}`,
      hint: "say which disk",
    });
  }
  const copy = chosen(container.resolve(HEADER_VAULT).backups(target.uuid), target, options.copy);
  const host = container.resolve(HOST);
  await refuseUsed(host, target);
  if (!options.onlyThisHostUsesIt) await refuseOtherHosts(target.volume, container.resolve(COMMAND_RUNNER));
  const task = `write the copy of ${copy.takenAt.toISOString()} over the LUKS header of ${nameOf(target)}`;
  if (options.dryRun) {
    print(`would ${task}`);
    return;
  }
  if (!options.yes) {
    process.stderr.write(`the copy: ${copy.path}, taken from ${printable(copy.volume)}\n`);
    await confirm(task, target.guest?.name ?? "restore");
  }
  const ports = { ...headerPorts(container), audit: container.resolve(AUDIT) };
  const work = () =>
    container.resolve(KEY_LOCKS).hold(target.uuid, async (): Promise<Restored> => {
      await refuseUsed(host, target);
      return await restoreVolume(target, copy, ports);
    });
  const { guest } = target;
  const done = await (guest === undefined ? work() : container.resolve(GUEST_LOCKS).hold(guest, work));
  if (done.opensWith === "former") {
    const word = guest === undefined ? "GUEST" : guestWord(guest);
    process.stderr.write(
      `warning: the copy is from before a rotation, and opens with a former passphrase: luksmith rotate ${word} brings it to the current one, before the guest is started\n`,
    );
  }
  if (options.json) {
    const { outcome, overwritten } = done;
    printJson(validate, {
      ...describeTarget(target),
      ...{ outcome, copy: describeCopy(copy) },
      ...(overwritten === undefined ? {} : { overwritten }),
    } satisfies HeaderRestoreOutput);
  } else print(`${nameOf(target)}: ${ending(done)}`);
}

function ending({ outcome, overwritten, opensWith }: Restored): string {
  if (outcome === "unchanged") return "it has this very header";
  const kept = overwritten === undefined ? "" : `; what was left of the former one is in ${overwritten}`;
  return `the header was restored and opens with ${opensWith === "former" ? "a former passphrase of its key" : "its key"}${kept}`;
}

function chosen(
  copies: readonly HeaderBackup[],
  { uuid }: KnownTarget,
  called: string | undefined,
): HeaderBackup {
  const copy = called === undefined ? copies[0] : copies.find((each) => isCalled(each, called));
  if (copy !== undefined) return copy;
  throw new LuksmithError("HEADER_BACKUP_MISSING", {
    what: `there is no copy ${called === undefined ? "" : `${printable(called)} `}of the LUKS header of key ${uuid} on this host`,
    hint: copies.length === 0 ? "look for one on other hosts" : "see: luksmith header list",
  });
}

function isCalled({ takenAt, path }: HeaderBackup, called: string): boolean {
  return called === takenAt.toISOString() || called === path;
}
