import { Command } from "commander";
import type { KeyUse } from "../audit/audit-log.js";
import { EXIT } from "../error/catalogue.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { decryptWith } from "../keystore/transfer/age.js";
import { disposeOf } from "../keystore/transfer/collect.js";
import { type EscrowKey, readEscrow } from "../keystore/transfer/escrow.js";
import { readIdentities } from "../keystore/transfer/identities.js";
import { restoreKeys, type RestoreResult } from "../keystore/transfer/restore.js";
import { AUDIT, KEY_LOCKS, LOGGER } from "../tokens.js";
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
  const audit = container.resolve(AUDIT);
  const results: RestoreResult[] = [];
  try {
    if (!options.dryRun) audit.requireWritable();
    using progress = new Progress("storing keys", keys.length);
    const locks = container.resolve(KEY_LOCKS);
    await restoreKeys(keys, target, locks, options.dryRun ? "dry-run" : "apply", (result) => {
      results.push(result);
      progress.step();
    });
  } finally {
    disposeOf(keys);
  }
  if (!options.dryRun) await audit.record(...results.flatMap((result) => useOf(result, options.to)));
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

function useOf(result: RestoreResult, keystore: string): KeyUse[] {
  const { guest, disk, volume } = result.record;
  const use = { event: "import", guest, disk, volume, key: keyUuidOf(result.record), keystore } as const;
  if (result.outcome === "stored") return [{ ...use, result: "done" }];
  return result.outcome === "failed" ? [{ ...use, result: "failed", code: result.error.code }] : [];
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

function exitCodeOf(results: readonly RestoreResult[]): number {
  for (const result of results) if (result.outcome === "failed") return result.error.exitCode;
  return EXIT.ok;
}
