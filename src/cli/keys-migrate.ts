import { Command } from "commander";
import type { KeyUse } from "../audit/audit-log.js";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { isThrowAway } from "../keystore/round-trip.js";
import { type Migration, type MigrationResult, migrateKeys } from "../keystore/transfer/migrate.js";
import { recordsOfGuest } from "../keystore/transfer/of-guest.js";
import { AUDIT, GUEST_LOCKS, KEY_LOCKS, KEYRING, LOGGER } from "../tokens.js";
import { targetNamed } from "./key-target.js";
import { exitCodeOf, type MigrateOptions, newKeysIn, report, showResult } from "./keys-migrate-report.js";
import { open } from "./open.js";
import { Progress } from "./progress.js";
import { wantedGuest } from "./wanted-guest.js";

export function migrateCommand(): Command {
  return new Command("migrate")
    .summary("move keys from one keystore to another one")
    .description(
      "Stores each key in the other keystore, fetches it from there and compares, and only then deletes it from the " +
        "first. Can be stopped at any time and run again.",
    )
    .requiredOption("--from <keystore>", "name of the keystore that has the keys")
    .requiredOption("--to <keystore>", "name of the keystore that shall have them")
    .option("--guest <guest>", "only the keys of this guest: name, UUID or VMID")
    .option("--dry-run", "say what would be done, change nothing")
    .option("--json", "for machines")
    .action(migrate);
}

async function migrate(options: MigrateOptions): Promise<void> {
  const container = open();
  const logger = container.resolve(LOGGER);
  try {
    const plan = await prepare(container, options);
    if (plan.manner === "apply") container.resolve(AUDIT).requireWritable();
    const results: MigrationResult[] = [];
    // who sees a number that grows needs no line for each key
    const isWatched = process.stdout.isTTY && process.stderr.isTTY;
    {
      using progress = new Progress("moving keys", plan.records.length);
      await migrateKeys({
        ...plan,
        settled: (result) => {
          results.push(result);
          progress.step();
          if (plan.manner === "apply" && result.outcome === "moved") {
            logger.info(`key moved from keystore ${options.from} to ${options.to}`, fields(result.record));
          }
          if (!options.json && !isWatched) showResult(result, options);
        },
      });
    }
    const moved = results.filter(({ outcome }) => plan.manner === "apply" && outcome === "moved");
    await container.resolve(AUDIT).record(...moved.map(({ record }) => useOf(record, options)));
    report(results, newKeysIn(container, options.from), options);
    for (const result of results) {
      if (result.outcome !== "failed") continue;
      const { record, error } = result;
      logger.error("keys migrate failed", {
        ...fields(record),
        error: error.within(`cannot move key ${record.uuid}`),
      });
    }
    process.exitCode = exitCodeOf(results);
  } finally {
    await logger.close();
  }
}

async function prepare(container: Container, options: MigrateOptions): Promise<Omit<Migration, "settled">> {
  if (options.from === options.to) {
    throw new LuksmithError("USAGE", { what: `keystore ${options.from} has these keys already` });
  }
  const from = await container.resolve(KEYRING).get(options.from);
  const target = await targetNamed(options.to, container);
  const records = (await from.find({})).filter((record) => !isThrowAway(record));
  return {
    from,
    target,
    records:
      options.guest === undefined
        ? records
        : recordsOfGuest(records, await wantedGuest(container, options.guest)),
    locks: container.resolve(GUEST_LOCKS),
    keyLocks: container.resolve(KEY_LOCKS),
    manner: options.dryRun ? "dry-run" : "apply",
  };
}

function useOf(record: KeyRecord, { from, to }: MigrateOptions): KeyUse {
  const { guest, disk, volume } = record;
  const detail = `moved from keystore ${from}`;
  return {
    event: "store",
    guest,
    disk,
    volume,
    key: keyUuidOf(record),
    keystore: to,
    result: "done",
    detail,
  };
}

function fields({ guest, uuid, disk }: KeyRecord): { guest: string; key: string; disk: string } {
  return { guest: guest.name, key: uuid, disk };
}
