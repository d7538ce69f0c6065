import { Command } from "commander";
import { EXIT } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { decryptWith } from "../keystore/transfer/age.js";
import { disposeOf } from "../keystore/transfer/collect.js";
import { type EscrowKey, readEscrow } from "../keystore/transfer/escrow.js";
import { restoreKeys, type RestoreResult } from "../keystore/transfer/restore.js";
import { Secret } from "../secret/secret.js";
import { LOGGER } from "../tokens.js";
import { targetNamed } from "./key-target.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { Progress } from "./progress.js";
import { readStandardInput } from "./standard-input.js";

interface Options {
  readonly identity: string;
  readonly to: string;
  readonly dryRun?: true;
}

/** Bytes of an identity file; one line of it has less than 100, or 2 KiB for a hybrid one. */
const IDENTITY_LIMIT = 64 * 1024;

export function importCommand(): Command {
  return new Command("import")
    .summary("bring back keys that were exported")
    .description(
      "Reads what luksmith keys export has written from standard input, and stores the keys that the keystore lacks: " +
        "luksmith keys import --identity FILE --to KEYSTORE < FILE",
    )
    .requiredOption(
      "--identity <file>",
      "private key of a recipient, as age-keygen writes it; for root alone",
    )
    .requiredOption("--to <keystore>", "name of the keystore that shall have them")
    .option("--dry-run", "say what would be done, change nothing")
    .action(importKeys);
}

async function importKeys(options: Options): Promise<void> {
  const container = open();
  const target = await targetNamed(options.to, container);
  const keys = await readKeys(options);
  const logger = container.resolve(LOGGER);
  const results: RestoreResult[] = [];
  try {
    using progress = new Progress("storing keys", keys.length);
    await restoreKeys(keys, target, options.dryRun ? "dry-run" : "apply", (result) => {
      results.push(result);
      progress.step();
    });
  } finally {
    disposeOf(keys);
  }
  results.forEach((result) => {
    const { record, outcome } = result;
    const about = { guest: record.guest.name, key: record.uuid, disk: record.disk };
    print(
      `${options.dryRun ? WOULD[outcome] : outcome}: ${record.uuid} (${record.disk} of ${record.guest.name})`,
    );
    if (outcome === "stored" && !options.dryRun) logger.info(`key imported to keystore ${options.to}`, about);
    if (result.outcome === "failed") logger.error("keys import failed", { ...about, error: result.error });
  });
  await logger.close();
  process.exitCode = exitCodeOf(results);
}

const WOULD: Record<RestoreResult["outcome"], string> = {
  stored: "would be stored",
  present: "present",
  failed: "failed",
  "not tried": "not tried",
};

/** Everything is read and found valid before anything is stored. */
async function readKeys({ identity }: Options): Promise<EscrowKey[]> {
  using identities = readIdentities(identity);
  const file = readStandardInput({
    what: "there are no keys to import",
    hint: "luksmith keys import --identity FILE --to KEYSTORE < FILE",
  });
  using plaintext = await decryptWith(identities, file);
  return readEscrow(plaintext);
}

/** @throws PERMISSIONS_UNSAFE, IDENTITY_REJECTED */
function readIdentities(path: string): Secret {
  try {
    const bytes = readGuardedFile(path, PRIVATE_FILE, IDENTITY_LIMIT);
    if (bytes !== undefined) return Secret.own(bytes);
    throw unreadable(path, "there is no such file");
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unreadable(path, failure.text);
  }
}

function unreadable(path: string, why: string): LuksmithError {
  return new LuksmithError("IDENTITY_REJECTED", { what: `cannot read the identity file ${path}`, why });
}

function exitCodeOf(results: readonly RestoreResult[]): number {
  for (const result of results) if (result.outcome === "failed") return result.error.exitCode;
  return EXIT.ok;
}
