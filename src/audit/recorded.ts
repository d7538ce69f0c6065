import { EXIT } from "../error/catalogue.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { AuditLog, KeyEvent, KeyUse } from "./audit-log.js";

/** A use of a key before it is known how it ended. */
export type PlannedUse = Omit<KeyUse, "result" | "code">;

/**
 * Uses keys and records how that ended. What was done and cannot be recorded, though the settings require it, is undone.
 * @param act resolves to what undoes it
 * @throws AUDIT_UNWRITABLE, before anything is done where that can be told; what `act` throws
 */
export async function recorded<Undo extends (() => Promise<void>) | undefined>(
  audit: AuditLog,
  uses: readonly PlannedUse[],
  act: () => Promise<Undo>,
): Promise<Undo> {
  audit.requireWritable();
  const undo = await act().catch(async (thrown: unknown) => {
    await recordFailure(audit, uses, thrown);
    throw thrown;
  });
  try {
    await audit.record(...uses.map((use) => ({ ...use, result: "done" as const })));
  } catch (thrown) {
    await undo?.();
    throw thrown;
  }
  return undo;
}

/** Of a key as its record describes it. */
export function useOfRecord(event: KeyEvent, record: KeyRecord, keystore?: string): PlannedUse {
  const { disk, volume, guest } = record;
  return { event, guest, disk, volume, key: keyUuidOf(record), ...(keystore && { keystore }) };
}

/** What has failed is the error that is thrown, whatever becomes of its record. */
export async function recordFailure(
  audit: Pick<AuditLog, "record">,
  uses: readonly PlannedUse[],
  thrown: unknown,
): Promise<void> {
  const { code, exitCode } = asLuksmithError(thrown);
  const result = exitCode === EXIT.refused ? "refused" : "failed";
  await audit.record(...uses.map((use) => ({ ...use, result, code }) as const)).catch(() => undefined);
}

/** For work that must not fail: what cannot be recorded is passed over, whatever the settings require. */
export function neverRefusing(audit: AuditLog, warn: (message: string) => void): AuditLog {
  return {
    requireWritable: () => undefined,
    record: (...uses) =>
      audit.record(...uses).catch((thrown: unknown) => {
        warn(asLuksmithError(thrown).message);
      }),
  };
}
