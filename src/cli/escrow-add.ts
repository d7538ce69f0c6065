import { isatty } from "node:tty";
import { Command, Option } from "commander";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { requireRecipients } from "../keystore/transfer/age.js";
import { planOf } from "../plan/step.js";
import { liveKey } from "../recovery/live-key.js";
import { missingRecipients } from "../recovery/policy.js";
import { type RecoverableDisk, recoverableDisks } from "../recovery/recoverable-disk.js";
import { recoveryOf, type RecoveryPassphrase } from "../recovery/recovery-entry.js";
import { RecoveryKeyslots } from "../recovery/recovery-keyslots.js";
import {
  newPassphraseFor,
  newPrintedPassphrase,
  parsePrintedPassphrase,
} from "../recovery/recovery-passphrases.js";
import type { Secret } from "../secret/secret.js";
import { HOST, KEYRING, SETTINGS } from "../tokens.js";
import { changeGuest } from "./change.js";
import { readHiddenLine } from "./hidden-line.js";
import { collect } from "./key-argument.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { recoveryPorts } from "./recovery-ports.js";
import { writeStandardOutput } from "./write-output.js";

interface Options {
  readonly passphrase?: true;
  readonly recipient?: readonly string[];
  readonly policy?: true;
  readonly yes?: true;
  readonly dryRun?: true;
}

export function addCommand(): Command {
  return new Command("add")
    .summary("add a recovery keyslot")
    .description(
      "Adds a keyslot to encrypted disks of a guest that needs no keystore to be opened: with a passphrase that is " +
        "printed once on standard output and stored nowhere, or with one that is encrypted to people's age " +
        "identities in a file. The guest may run.",
    )
    .argument("<guest>", "name, UUID or VMID")
    .argument("[disk]", "its device name: vda; all encrypted disks without it")
    .option("--passphrase", "make a passphrase for paper, for one disk")
    .addOption(
      new Option("--recipient <age1…>", "public key of who can open it; may be repeated").argParser(collect),
    )
    .option("--policy", "what the settings want for the disks (profiles, recovery), where it is missing")
    .option("--yes", "do not have the passphrase typed back")
    .option("--dry-run", "say what would be done, change nothing")
    .action(add);
}

async function add(name: string, dev: string | undefined, options: Options): Promise<void> {
  await requireOneWay(options);
  const container = open();
  const disks = await recoverableDisks(
    container.resolve(HOST),
    await container.resolve(HOST).readGuest(name),
    dev,
  );
  if (options.dryRun) {
    for (const { guest, disk } of disks)
      print(`would add a recovery keyslot to disk ${disk} of ${guest.name}`);
    return;
  }
  // before the guest is locked: a person takes his time
  using printed = options.passphrase && (await printedFor(disks, options));
  await changeGuest(container, {
    command: "escrow",
    guest: name,
    manner: "apply",
    work: async (id) => {
      const host = container.resolve(HOST);
      for (const disk of await recoverableDisks(host, await host.readGuest(id), dev))
        await addTo(disk, container, options, printed);
      return planOf();
    },
  });
}

/** @throws USAGE */
async function requireOneWay({ passphrase, recipient, policy }: Options): Promise<void> {
  const ways = [passphrase, recipient, policy].filter((way) => way !== undefined).length;
  if (ways === 0) {
    throw new LuksmithError("USAGE", {
      what: "cannot tell who is to be able to open the disk",
      hint: "say one of: --passphrase, --recipient age1…, --policy",
    });
  }
  if (ways > 1) {
    throw new LuksmithError("USAGE", {
      what: "--passphrase, --recipient and --policy exclude each other",
      why: "each of them makes a keyslot of its own",
      hint: "say one of them, and call luksmith escrow add again for the next one",
    });
  }
  if (recipient !== undefined) await requireRecipients(recipient);
}

/** Shown, and typed back: what was not written down right must not be relied on. */
async function printedFor(disks: readonly RecoverableDisk[], { yes }: Options): Promise<Secret> {
  const [{ guest, disk, uuid }, ...more] = disks as [RecoverableDisk, ...RecoverableDisk[]];
  if (more.length > 0) {
    throw new LuksmithError("USAGE", {
      what: `guest ${guest.name} has several encrypted disks, and a printed passphrase is for one`,
      hint: `name one of them: ${disks.map((each) => each.disk).join(", ")}`,
    });
  }
  if (!yes && !isatty(process.stdin.fd)) {
    throw new LuksmithError("USAGE", {
      what: "cannot have the passphrase typed back",
      why: "standard input is no terminal",
      hint: "say --yes, and see that the passphrase arrives where it is to be kept",
    });
  }
  const passphrase = newPrintedPassphrase();
  try {
    const line = passphrase.use((text) => Buffer.concat([text, Buffer.from("\n")]));
    writeStandardOutput(line);
    line.fill(0);
    process.stderr.write(advice(guest.name, disk, uuid));
    if (!yes) await requireTypedBack(passphrase);
    return passphrase;
  } catch (thrown) {
    passphrase.dispose();
    throw thrown;
  }
}

function advice(guest: string, disk: string, uuid: string): string {
  return `This is to open disk ${disk} of guest ${guest} (LUKS UUID ${uuid}) without any keystore.
It is shown this once and stored nowhere, and opens nothing until luksmith says so below.
Write it down with the UUID, and lock it away.
`;
}

async function requireTypedBack(passphrase: Secret): Promise<void> {
  const typed = parsePrintedPassphrase(await readHiddenLine("Type it back: "));
  if (typed.kind === "mistyped") {
    throw new LuksmithError("NOT_CONFIRMED", {
      what: "no keyslot was added",
      why: `the recovery passphrase ${typed.reason}`,
    });
  }
  using back = typed.passphrase;
  if (back.equals(passphrase)) return;
  throw new LuksmithError("NOT_CONFIRMED", {
    what: "no keyslot was added",
    why: "another recovery passphrase was typed",
  });
}

async function addTo(
  disk: RecoverableDisk,
  container: Container,
  { recipient = [], policy }: Options,
  printed: Secret | undefined,
): Promise<void> {
  const wanted = printed === undefined ? await wantedFor(disk, container, policy ? "policy" : recipient) : [];
  if (printed === undefined && wanted.length === 0) {
    const why = policy ? "it has what the settings want" : "these recipients can open it already";
    print(`${disk.guest.name}: nothing to do for disk ${disk.disk}: ${why}`);
    return;
  }
  const made: RecoveryPassphrase =
    printed === undefined
      ? await newPassphraseFor(wanted)
      : { passphrase: printed, holder: { kind: "passphrase" } };
  const ports = recoveryPorts(container);
  try {
    const { keyslot, kind } = await new RecoveryKeyslots(ports).add(disk, made);
    const how =
      kind === "passphrase"
        ? "it opens with the passphrase that was shown"
        : ports.files.path(disk.uuid, keyslot);
    const said = `${disk.guest.name}: recovery keyslot ${keyslot} added to disk ${disk.disk}: ${how}`;
    // standard output has the passphrase
    if (kind === "passphrase") process.stderr.write(`${said}\n`);
    else print(said);
  } finally {
    if (printed === undefined) made.passphrase.dispose();
  }
}

/** For whom a keyslot is to be made: none where one keyslot is for all of them already. */
async function wantedFor(
  { uuid }: RecoverableDisk,
  container: Container,
  wanted: readonly string[] | "policy",
): Promise<readonly string[]> {
  const { key } = await liveKey(container.resolve(KEYRING), uuid);
  key.passphrase.dispose();
  if (wanted === "policy") {
    const recipients = missingRecipients(key.record, container.resolve(SETTINGS));
    await requireRecipients(recipients);
    return recipients;
  }
  const isHeld = recoveryOf(key.record).some(({ recipients = [] }) =>
    wanted.every((recipient) => recipients.includes(recipient)),
  );
  return isHeld ? [] : wanted;
}
