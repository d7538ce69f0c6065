import { Argument, Command } from "commander";
import { loginUser } from "../audit/actor.js";
import type { Container } from "../di.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import { unsupportedCommand } from "../host/proxmox/unsupported.js";
import { nameOf } from "../shred/refuse-used.js";
import { type Asking, type Candidate, Shredder, type Wish } from "../shred/shred-all.js";
import { isBegun } from "../shred/shred-notes.js";
import { HOST, LOGGER } from "../tokens.js";
import { confirm } from "./confirm.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { shredKeyCommand, shredVerifyCommand } from "./shred-record.js";

const MIB = 1024 * 1024;

interface Options {
  readonly volume?: string;
  readonly snapshotsAreGone?: true;
  readonly onlyThisHostUsesIt?: true;
  readonly volumeKeyIsShared?: true;
  readonly yesIMean?: string;
  readonly dryRun?: true;
}

export function shredCommand(): Command {
  return new Command("shred")
    .summary("destroy all that can open a disk, for good")
    .description("Destroys what opens volumes. luksmith shred GUEST is luksmith shred disks GUEST.")
    .addCommand(disksCommand(), { isDefault: true })
    .addCommand(requestCommand())
    .addCommand(shredVerifyCommand())
    .addCommand(shredKeyCommand());
}

function disksCommand(): Command {
  return describe(new Command("disks"))
    .summary("destroy all that can open a guest's disks, or a volume")
    .description(
      "Destroys the LUKS header of each of the guest's encrypted disks with all keyslots, its copies, its escrow files, " +
        "former passphrases, and at last the key itself: nobody can read the volume any more, nor any backup of it that " +
        "lacks its header. Refuses while anything on this host needs it. Leaves a signed record.",
    )
    .option("--yes-i-mean <name>", "do not ask for the guest's, or the volume's, name: this is it")
    .option("--dry-run", "say what would be destroyed, change nothing")
    .action(shredDisks);
}

function requestCommand(): Command {
  return describe(new Command("request"))
    .summary("ask another person to shred")
    .description(
      "Where the settings want two persons (shred.persons): the first one's word, which holds for a day and for exactly " +
        "what is there now. Another person then calls luksmith shred.",
    )
    .action(async (guest: string | undefined, disks: readonly string[], options: Options) => {
      const container = open();
      refuseProxmox(container, guest, disks);
      const found = await new Shredder(container).request(wishOf(guest, disks, options), askingWith(options));
      tell(found, "to be destroyed");
      print("requested; another person calls luksmith shred with the same words within a day");
    });
}

function describe(command: Command): Command {
  return command
    .addArgument(new Argument("[guest]", "name, UUID or VMID of a guest that does not run"))
    .addArgument(new Argument("[disk...]", "device names; all of its encrypted disks without them"))
    .option("--volume <volume>", "a volume that no guest of this host has")
    .option("--snapshots-are-gone", "the storage below has no snapshot and no clone of it: you have looked")
    .option("--only-this-host-uses-it", "no guest of another host has the block device open: you have looked")
    .option("--volume-key-is-shared", "other headers have the same volume key, and stay: they open its data");
}

async function shredDisks(
  guest: string | undefined,
  disks: readonly string[],
  options: Options,
): Promise<void> {
  const container = open();
  refuseProxmox(container, guest, disks);
  const shredder = new Shredder(container);
  const [wish, asking] = [wishOf(guest, disks, options), askingWith(options)];
  const found = await shredder.candidates(wish, asking);
  if (!options.dryRun) shredder.approve(found, asking);
  tell(found, options.dryRun ? "would be destroyed" : "to be destroyed");
  if (options.dryRun) return;
  await requireWord(await shredder.wordFor(wish), options.yesIMean);
  const logger = container.resolve(LOGGER);
  try {
    const records = await shredder.shred(wish, asking);
    for (const { target } of found) print(`shredded: ${nameOf(target)}`);
    for (const record of records) print(`record: ${record}`);
    logger.info("shred done", wish.kind === "guest" ? { guest: wish.guest } : {});
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    logger.error("shred failed", { error, ...(wish.kind === "guest" && { guest: wish.guest }) });
    process.exitCode = error.exitCode;
  } finally {
    await logger.close();
  }
}

/** There, volumes go with their guests' disks. @throws HOST_UNSUPPORTED */
function refuseProxmox(container: Container, guest: string | undefined, disks: readonly string[]): void {
  if (container.resolve(HOST).type !== "proxmox") return;
  throw unsupportedCommand("shred", guest === undefined ? [] : [guest, ...disks]);
}

/** @throws NOT_CONFIRMED, USAGE */
async function requireWord(word: string, given: string | undefined): Promise<void> {
  if (given === undefined) {
    await confirm("destroy all that can open it", word, `--yes-i-mean ${shellWord(word)}`);
    return;
  }
  if (given === word) return;
  throw new LuksmithError("NOT_CONFIRMED", {
    what: "nothing is destroyed",
    why: `--yes-i-mean says ${given}, and it is called ${word}`,
  });
}

function wishOf(guest: string | undefined, disks: readonly string[], { volume }: Options): Wish {
  if (guest !== undefined && volume === undefined) return { kind: "guest", guest, disks };
  if (guest === undefined && volume !== undefined) return { kind: "volume", volume };
  throw new LuksmithError("USAGE", {
    what: "either a guest or a volume is to be named",
    hint: "luksmith shred GUEST [DISK…], or luksmith shred --volume VOLUME",
  });
}

function askingWith({ snapshotsAreGone, onlyThisHostUsesIt, volumeKeyIsShared }: Options): Asking {
  return {
    uid: loginUser(),
    snapshots: snapshotsAreGone ? "gone" : "unknown",
    otherHosts: onlyThisHostUsesIt ? "none" : "unknown",
    sharedVolumeKey: volumeKeyIsShared ? "kept" : "refused",
  };
}

function tell(found: readonly Candidate[], verb: string): void {
  for (const { target, findings } of found) {
    const { header, headerCopies, escrowFiles, archived, keystores } = findings;
    const inKeystores =
      keystores.length === 0 ? "no key in any keystore" : `the key in ${keystores.join(", ")}`;
    const more = [
      counted(headerCopies, "copy of the header", "copies of the header"),
      counted(escrowFiles, "escrow file", "escrow files"),
      counted(archived.length, "former passphrase", "former passphrases"),
    ].filter((part) => part !== undefined);
    print(`${nameOf(target)} (key ${target.key})`);
    print(`  ${verb}: its LUKS header of ${header.length / MIB} MiB with all keyslots`);
    if (more.length > 0) print(`  ${verb}: ${more.join(", ")}`);
    print(`  ${verb}: ${inKeystores}`);
    if (isBegun(findings)) print("  an earlier call has begun it");
  }
  print("what other hosts, backups and exports have of it cannot be seen from here");
}

function counted(count: number, one: string, many: string): string | undefined {
  return count === 0 ? undefined : `${count} ${count === 1 ? one : many}`;
}
