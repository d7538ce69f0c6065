import { visible } from "../error/printable.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import type { Logger } from "../log/logger.js";
import { volumeName } from "../storage/volume.js";
import type { DiskFacts } from "./facts.js";
import { isRecorded } from "./key-ownership.js";

/** A key that opens a disk, and was made for another volume, or for another guest's. */
export interface ForeignKey {
  readonly disk: string;
  readonly volume: string;
  readonly record: KeyRecord;
}

/** Among the disks' own keys; linked clones share their template's. For hosts on which the header alone names the key. */
export function foreignKeysIn(guest: Guest, facts: readonly DiskFacts[]): ForeignKey[] {
  return facts.flatMap((fact) => {
    if (fact.kind === "plain" || fact.key.kind !== "found" || fact.disk.linkedClone) return [];
    const { record } = fact.key;
    if (isRecorded(guest, fact.disk, record)) return [];
    return [{ disk: fact.disk.dev, volume: volumeName(fact.disk.volume), record }];
  });
}

/** Nothing is refused: a volume may have been renamed or restored by hand, and its content is what its header says. */
export function warnOfForeign(
  { name: guest }: Pick<Guest, "name">,
  { disk, volume, record }: ForeignKey,
  logger: Logger,
): void {
  const { id, name } = record.guest;
  const made = `${record.volume} of guest ${name === id ? id : `${name} (${id})`}`;
  const text = `disk ${disk} of guest ${guest} opens with key ${record.uuid}, which was made for ${made}; if nobody renamed or restored ${volume}, another volume was put in its place: see luksmith keys show ${record.uuid}`;
  logger.warn(visible(text), { guest, disk, key: record.uuid });
}
