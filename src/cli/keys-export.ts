import { existsSync } from "node:fs";
import { isatty } from "node:tty";
import { Argument, Command, Option } from "commander";
import type { AuditLog } from "../audit/audit-log.js";
import { type PlannedUse, recorded, recordFailure } from "../audit/recorded.js";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { createFile, removeFile } from "../fs/atomic-file.js";
import { PRIVATE_FILE } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { encryptFor, requireRecipients } from "../keystore/transfer/age.js";
import { collectKeys, disposeOf } from "../keystore/transfer/collect.js";
import { writeEscrow } from "../keystore/transfer/escrow.js";
import { AUDIT, CLOCK, KEYRING, LOGGER } from "../tokens.js";
import { collect, collectKeyArguments } from "./key-argument.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { wantedGuest } from "./wanted-guest.js";
import { writeStandardOutput } from "./write-output.js";

interface Options {
  readonly recipient: readonly string[];
  readonly guest?: readonly string[];
  readonly from?: string;
  readonly output?: string;
  readonly armor?: true;
}

export function exportCommand(): Command {
  return new Command("export")
    .summary("save keys, encrypted to recipients")
    .description(
      "Writes keys with their passphrases, encrypted with age to everybody who is named as a recipient: to be kept " +
        "away from this host, and opened with age -d or luksmith keys import.",
    )
    .addArgument(
      new Argument("[uuid...]", "UUIDs of keys; all keys if no key and no guest is named").argParser(
        collectKeyArguments,
      ),
    )
    .addOption(
      new Option("--recipient <age1…>", "public key of who can open it; may be repeated")
        .argParser(collect)
        .makeOptionMandatory(),
    )
    .option("--guest <guest>", "the keys of this guest: name, UUID or VMID; may be repeated", collect)
    .option("--from <keystore>", "from this keystore only; from all without it")
    .option("--output <file>", "write this new file, not standard output")
    .option("--armor", "text instead of bytes")
    .action(exportKeys);
}

async function exportKeys(uuids: readonly KeyUuid[] = [], options: Options): Promise<void> {
  const { recipient: recipients, guest: guests = [], output, armor } = options;
  const container = open();
  requirePlace(output);
  await requireRecipients(recipients);
  const keystores = await keystoresFor(options, container);
  const wanted = await Promise.all(guests.map((guest) => wantedGuest(container, guest)));
  const keys = await collectKeys(keystores, { guests: wanted, uuids });
  try {
    if (keys.length === 0) {
      throw new LuksmithError("KEY_NOT_FOUND", { what: "there are no keys to export" });
    }
    const audit = container.resolve(AUDIT);
    audit.requireWritable();
    using plaintext = writeEscrow(keys, container.resolve(CLOCK).now());
    const file = await encryptFor(recipients, plaintext, armor ? "armor" : "binary");
    const uses = keys.map((key) => useOf(key, recipients, output));
    if (output === undefined) await toStandardOutput(file, uses, audit);
    else await recorded(audit, uses, () => toFile(file, output));
  } finally {
    disposeOf(keys);
  }
  const logger = container.resolve(LOGGER);
  logger.info(`keys export done: ${keys.length} keys for ${recipients.join(", ")}`);
  await logger.close();
  if (output !== undefined)
    print(
      `exported ${countOf(keys.length, "key")} for ${countOf(recipients.length, "recipient")}: ${output}`,
    );
}

function useOf({ record }: Key, recipients: readonly string[], output: string | undefined): PlannedUse {
  const { guest, disk, volume } = record;
  const detail = `to ${output ?? "standard output"} for ${recipients.join(", ")}`;
  return { event: "export", guest, disk, volume, key: keyUuidOf(record), detail };
}

/** Before any passphrase is fetched. @throws USAGE, OUTPUT_EXISTS */
function requirePlace(output: string | undefined): void {
  if (output === undefined) {
    if (!isatty(process.stdout.fd)) return;
    throw new LuksmithError("USAGE", {
      what: "keys are not written to a terminal",
      hint: "luksmith keys export --output FILE …, or: luksmith keys export … > FILE",
    });
  }
  if (existsSync(output)) throw exists(output);
}

async function keystoresFor({ from }: Options, container: Container): Promise<Keystore[]> {
  const keyring = container.resolve(KEYRING);
  return from === undefined ? keyring.all() : [await keyring.get(from)];
}

/** All of it, or this throws: of what was cut off no key can be decrypted. @throws OUTPUT_UNWRITABLE */
async function toStandardOutput(file: Buffer, uses: readonly PlannedUse[], audit: AuditLog): Promise<void> {
  // before: what is written may be read at once, and cannot be taken back
  await audit.record(
    ...uses.map((use) => ({ ...use, result: "done" as const, detail: `begins, ${use.detail ?? ""}` })),
  );
  try {
    writeStandardOutput(file);
  } catch (thrown) {
    await recordFailure(audit, uses, thrown);
    throw thrown;
  }
}

/**
 * A file that is named is there whole, for root alone, or not at all. @returns what removes it again
 * @throws OUTPUT_EXISTS, OUTPUT_UNWRITABLE
 */
async function toFile(file: Buffer, output: string): Promise<() => Promise<void>> {
  await Promise.resolve();
  try {
    if (createFile(output, file, PRIVATE_FILE.mode) === "exists") throw exists(output);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("OUTPUT_UNWRITABLE", { what: `cannot write ${output}`, why: failure.text });
  }
  return async () => {
    await Promise.resolve();
    removeFile(output);
  };
}

function exists(path: string): LuksmithError {
  return new LuksmithError("OUTPUT_EXISTS", {
    what: `${path} is there already`,
    why: "it may hold the only copy of other keys",
    hint: "choose another name",
  });
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
