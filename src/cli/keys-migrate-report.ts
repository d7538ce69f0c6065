import type { Container } from "../di.js";
import { EXIT } from "../error/catalogue.js";
import type { KeysMigrateOutput } from "../generated/keys-migrate.js";
import validate from "../generated/validate-keys-migrate.cjs";
import type { MigrationResult } from "../keystore/transfer/migrate.js";
import { SETTINGS } from "../tokens.js";
import { print, printJson } from "./output.js";
import { problemOf } from "../error/problem.js";

/** What the command was told to do. */
export interface MigrateOptions {
  readonly from: string;
  readonly to: string;
  readonly guest?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/** Profiles that go on storing new keys where these were taken away. */
export function newKeysIn(container: Container, keystore: string): string[] {
  return container
    .resolve(SETTINGS)
    .profiles.filter((profile) => profile.keystore === keystore)
    .map(({ name }) => name);
}

/** One line for a key. */
export function showResult({ record, outcome }: MigrationResult, { dryRun }: MigrateOptions): void {
  const key = `${record.uuid} (${record.disk} of ${record.guest.name})`;
  print(dryRun && WOULD[outcome] !== undefined ? `would be ${WOULD[outcome]}: ${key}` : `${outcome}: ${key}`);
}

const WOULD: Partial<Record<MigrationResult["outcome"], string>> = { moved: "moved", copied: "copied" };

/** What became of all of them, and what is left to do. */
export function report(
  results: readonly MigrationResult[],
  profiles: string[],
  options: MigrateOptions,
): void {
  const { from, to, dryRun, json } = options;
  if (json) {
    const keys = results.map((result) => ({
      ...{ uuid: result.record.uuid, guest: result.record.guest, disk: result.record.disk },
      outcome: result.outcome,
      ...(result.outcome === "failed" ? { problem: problemOf(result.error) } : {}),
    }));
    printJson(validate, { from, to, dryRun: dryRun ?? false, keys, profiles } satisfies KeysMigrateOutput);
    return;
  }
  print(summary(results, options));
  if (results.some(({ outcome }) => outcome === "copied")) {
    print(`keystore ${from} cannot delete: it has the copied keys still`);
  }
  if (results.some(({ outcome }) => outcome === "not tried")) {
    print("hint: mend what the errors name, and run the command again: it goes on");
  }
  if (profiles.length > 0) {
    const some = profiles.length === 1 ? `profile ${profiles[0] ?? ""}` : `profiles ${profiles.join(", ")}`;
    print(
      `hint: new keys of ${some} are still stored in ${from}: set their keystore to ${to} in the settings`,
    );
  }
}

function summary(results: readonly MigrationResult[], { from, to, dryRun }: MigrateOptions): string {
  if (results.length === 0) return `keystore ${from} has no keys to move`;
  const counts = new Map<string, number>();
  for (const { outcome } of results) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  const parts = [...counts].map(([outcome, count]) => `${count} ${outcome}`);
  return `from ${from} to ${to}${dryRun ? ", if it were done" : ""}: ${parts.join(", ")}`;
}

/** That of the first error. A key that was only copied was not moved, as the command promises. */
export function exitCodeOf(results: readonly MigrationResult[]): number {
  for (const result of results) if (result.outcome === "failed") return result.error.exitCode;
  return results.every(({ outcome }) => outcome === "moved" || outcome === "gone") ? EXIT.ok : EXIT.failure;
}
