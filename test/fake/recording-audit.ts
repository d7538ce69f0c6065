import type { AuditLog, KeyUse } from "../../src/audit/audit-log.js";
import type { LuksmithError } from "../../src/error/luksmith-error.js";

/** Keeps in memory what is recorded; fails where a failure is set. */
export class RecordingAudit implements AuditLog {
  readonly uses: KeyUse[] = [];
  /** What every `record` throws. */
  failure: LuksmithError | undefined;

  record(...uses: readonly KeyUse[]): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.uses.push(...uses);
    return Promise.resolve();
  }

  requireWritable(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}
