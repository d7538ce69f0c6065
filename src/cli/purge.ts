import { Command } from "commander";
import { ConversionNotes } from "../convert/conversion-notes.js";
import { type PurgePorts, purgeVolume } from "../convert/purge-volume.js";
import { requirePurgeable } from "../convert/require-purgeable.js";
import type { Container } from "../di.js";
import { printable } from "../error/printable.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import { planOf } from "../plan/step.js";
import { VolumeLocks } from "../storage/volume-lock.js";
import { AUDIT, COMMAND_RUNNER, HOST, STORAGE } from "../tokens.js";
import { changeGuest } from "./change.js";
import { confirm } from "./confirm.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { WATCHER } from "./percent-progress.js";

interface Options {
  readonly wipe?: true;
  readonly yes?: true;
  readonly dryRun?: true;
}

export function purgeCommand(): Command {
  return new Command("purge")
    .summary("remove the volumes that converted disks had before")
    .description(
      "Removes the old volumes of a guest's disks that were copied to new ones, if nobody has them. Their keys stay in " +
        "the keystore until luksmith keys delete.",
    )
    .argument("<guest>", "name or UUID")
    .argument("[disk]", "only what this disk had: vda")
    .option("--wipe", "overwrite the volumes with random bytes first")
    .option("--yes", "do not ask")
    .option("--dry-run", "say what would be done, change nothing")
    .action(purge);
}

async function purge(name: string, disk: string | undefined, options: Options): Promise<void> {
  const container = open();
  const ports = purgePorts(container);
  const { id, name: guest } = await ports.host.readGuest(name);
  const notes = ports.notes
    .of({ id })
    .filter((note) => note.state === "verified" && (disk === undefined || note.disk === disk));
  if (notes.length === 0) {
    print(`${guest}: no old volume is left`);
    return;
  }
  const volumes = notes.map(({ old }) => old.path).join(", ");
  if (!options.yes && !options.dryRun) await confirm(`remove ${printable(volumes)} for good`, guest);
  await changeGuest(container, {
    command: "purge",
    guest: id,
    manner: options.dryRun ? "dry-run" : "apply",
    work: async () => {
      for (const note of notes) await purgeOne(note, ports, options);
      return planOf();
    },
  });
}

async function purgeOne(note: ConversionNote, ports: PurgePorts, { wipe, dryRun }: Options): Promise<void> {
  const { old } = note;
  if (dryRun) {
    const { kind } = await requirePurgeable(note, ports);
    print(
      kind === "gone"
        ? `${old.path} is gone already`
        : `would ${wipe ? "overwrite and " : ""}remove ${old.path}`,
    );
    return;
  }
  await purgeVolume(note, wipe ? "wipe and remove" : "remove", ports);
  print(`${note.guest.name}: the old volume of ${note.disk}, ${old.path}, is gone`);
  if (wipe)
    print("what its storage keeps elsewhere was not reached: spare blocks of SSDs, snapshots, backups");
  if (old.key !== undefined)
    print(
      `its key is still there, for copies and backups of the volume: luksmith keys delete ${old.key} --volume-is-gone`,
    );
}

function purgePorts(container: Container): PurgePorts {
  const runner = container.resolve(COMMAND_RUNNER);
  return {
    audit: container.resolve(AUDIT),
    host: container.resolve(HOST),
    storage: container.resolve(STORAGE),
    runner,
    locks: new VolumeLocks(runner),
    notes: new ConversionNotes(),
    watcher: WATCHER,
  };
}
