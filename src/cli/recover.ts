import { isatty } from "node:tty";
import { Command, Option } from "commander";
import { Keyslots } from "../encryption/keyslots.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import { headerIn } from "../headers/header-in.js";
import { copyOut, requireFree } from "../recovery/copy-out.js";
import { openVolume } from "../recovery/opened-volume.js";
import { escrowedPassphrase, type GivenPassphrase, typedPassphrase } from "../recovery/passphrase-source.js";
import { type GivenFormat, volumeArgument } from "../storage/volume-argument.js";
import { KeyLocks } from "../keystore/key-locks.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import { parseSettings } from "../settings/load.js";
import { createStorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";
import { readHiddenLine } from "./hidden-line.js";
import { createNew } from "./new-file.js";
import { open, requireRoot } from "./open.js";
import { print } from "./output.js";
import { openIfPossible, RecoverAudit } from "./recover-audit.js";
import { putBack } from "./recover-header.js";
import { type Choice, readGiven, storeKey } from "./recover-store.js";
import { readStandardInput } from "./standard-input.js";

interface Options extends Choice {
  readonly format?: GivenFormat;
  readonly escrow?: string;
  readonly identity?: string;
  readonly header?: string;
  readonly store?: string;
  readonly copyTo?: string;
  readonly writeKey?: string;
}

export function recoverCommand(): Command {
  return new Command("recover")
    .summary("open an encrypted volume without its keystore")
    .description(
      "Proves which keyslot of a volume a recovery passphrase opens, with no keystore, no guest and no settings; then, " +
        "if it is told to, gives a keystore a new key for it, or copies the decrypted disk out. The passphrase is " +
        "read from the terminal or standard input, or from an escrow file.",
    )
    .argument("<volume>", "absolute path, or rbd:POOL/IMAGE")
    .addOption(
      new Option("--format <format>", "image format, where the volume does not tell").choices([
        "raw",
        "qcow2",
      ]),
    )
    .option("--escrow <file>", "escrow file, or a file of luksmith keys export")
    .option("--identity <file>", "private key of a recipient, as age-keygen writes it; for root alone")
    .option("--header <file>", "copy of the LUKS header, to be put back first where the volume has lost it")
    .option(
      "--store <keystore>",
      "give this keystore of the settings a key for the volume: its guest starts again",
    )
    .option("--guest <guest>", "whose key it will be, where no configuration or several have the volume")
    .option("--disk <device>", "the guest's device name of the disk")
    .option("--key-record <file>", "the key's record, where one was kept")
    .option("--copy-to <file>", "copy the decrypted disk into this new raw file")
    .option("--write-key <file>", "write the passphrase into this new file, for cryptsetup --key-file")
    .action(recover);
}

async function recover(name: string, options: Options): Promise<void> {
  requireRoot();
  requirePlaces(options);
  const runner = new ExecaCommandRunner();
  const keyslots = new Keyslots(runner);
  // the settings may be what is broken
  const storage = createStorageRegistry(runner, parseSettings('{"version":1}', "no settings").storage);
  const volume = volumeArgument(name, options.format);
  const backend = await storage.backendFor(volume);
  const copy =
    options.header === undefined ? undefined : { origin: options.header, bytes: readGiven(options.header) };
  const header = copy?.bytes ?? (await backend.readHeader(volume));
  const { uuid } = headerIn(header, copy?.origin ?? volumeName(volume));
  const opens = async (secret: Secret) => (await keyslots.find(header, secret)) !== undefined;
  const given = await givenPassphrase(options, uuid, opens);
  using passphrase = given.passphrase;
  const host = options.store === undefined ? openIfPossible() : { container: open() };
  const audit = new RecoverAudit({ volume: volumeName(volume), key: uuid }, host);
  try {
    const work = async () => {
      if (copy !== undefined) {
        await audit.done("putting back a copy of the LUKS header begins");
        await putBack({ volume, backend, copy, uuid, passphrase }, keyslots, host.container);
      }
      const proven = await openVolume(volume, passphrase, { storage, keyslots });
      print(`${volumeName(volume)}: the passphrase opens keyslot ${proven.keyslot} (LUKS UUID ${uuid})`);
      await audit.done(`opened with keyslot ${proven.keyslot}${intentions(options)}`);
      if (options.writeKey !== undefined) writeKey(passphrase, options.writeKey);
      if (options.store !== undefined && host.container !== undefined)
        await storeKey(proven, given, {
          keystore: options.store,
          container: host.container,
          options,
          keyslots,
        });
      return proven;
    };
    // what only reads waits for nobody: one that hangs has its locks for ever
    const changes = copy !== undefined || options.store !== undefined;
    const opened = await (changes ? new KeyLocks(runner).hold(uuid, work) : work());
    if (options.copyTo !== undefined) {
      const size = await copyOut(opened, passphrase, options.copyTo, runner);
      print(`copied ${size} bytes to ${options.copyTo}: everything in it is readable, so protect it`);
    }
    if (intentions(options) !== "") await audit.done("ended");
  } catch (thrown) {
    await audit.failed(thrown);
    throw withMistyping(thrown, given);
  }
}

/** What is about to be done, recorded before it is: a kill may come after it. */
function intentions({ writeKey: keyFile, copyTo, store }: Options): string {
  return [
    ...(keyFile === undefined ? [] : ["; writing the passphrase to a file begins"]),
    ...(store === undefined ? [] : [`; giving keystore ${store} a key begins`]),
    ...(copyTo === undefined ? [] : ["; copying the decrypted disk to a file begins"]),
  ].join("");
}

/** Before a passphrase is asked for. @throws USAGE, OUTPUT_EXISTS */
function requirePlaces({ escrow, identity, copyTo, writeKey: keyFile }: Options): void {
  if ((escrow === undefined) !== (identity === undefined)) {
    throw new LuksmithError("USAGE", {
      what: "an escrow file and an identity that opens it belong together",
      hint: "--escrow FILE --identity FILE",
    });
  }
  for (const path of [copyTo, keyFile]) if (path !== undefined) requireFree(path);
}

async function givenPassphrase(
  { escrow, identity }: Options,
  uuid: KeyUuid,
  opens: (passphrase: Secret) => Promise<boolean>,
): Promise<GivenPassphrase> {
  if (escrow !== undefined && identity !== undefined)
    return await escrowedPassphrase(readGiven(escrow), identity, uuid, opens);
  const typed = isatty(process.stdin.fd)
    ? await readHiddenLine(`Recovery passphrase for LUKS UUID ${uuid}: `)
    : readStandardInput({
        what: "there is no passphrase",
        hint: "type it at a terminal, or luksmith recover VOLUME < FILE, or --escrow FILE --identity FILE",
      });
  return typedPassphrase(typed);
}

function writeKey(passphrase: Secret, path: string): void {
  passphrase.use((bytes) => {
    createNew(path, bytes);
  });
  print(`wrote the passphrase to ${path}: cryptsetup open --key-file ${path} VOLUME NAME`);
}

function withMistyping(thrown: unknown, { mistyped }: GivenPassphrase): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "PASSPHRASE_REJECTED" || mistyped === undefined)
    return thrown;
  return new LuksmithError("PASSPHRASE_REJECTED", {
    what: thrown.message,
    why: `${thrown.why ?? "no keyslot opens"}; if it was printed by luksmith escrow, the recovery passphrase ${mistyped}`,
    ...(thrown.hint !== undefined && { hint: thrown.hint }),
    cause: thrown,
  });
}
