import type { AuditLog } from "../audit/audit-log.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { volumeName } from "../storage/volume.js";
import type { ConvertPlan } from "./plan-convert.js";

/** The begin before the guest has the new volume: a kill right after that must not hide what was done. */
export async function recordCopied(
  { guest, disk, source, target, key }: ConvertPlan,
  audit: AuditLog,
  what: "begins" | "done",
): Promise<void> {
  const record = key?.record ?? source.key?.record;
  if (record === undefined) return;
  const detail = [
    ...(what === "begins" ? [what] : []),
    `from ${source.volume.path}`,
    ...(key === undefined ? ["not encrypted any more"] : []),
  ];
  await audit.record({
    ...{ event: "convert", result: "done", key: keyUuidOf(record) },
    ...{ guest: { id: guest.id, name: guest.name }, disk, volume: volumeName(target.volume) },
    detail: detail.join(", "),
  });
}
