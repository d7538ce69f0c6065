import { existsSync } from "node:fs";
import type { LuksHeader } from "../encryption/luks-header.js";
import type { DiskFacts } from "../plan/facts.js";
import type { StorageRegistry } from "../storage/index.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import type { DiskStatus } from "./verdict.js";

/** The LUKS header that a disk's volume has now, whosever it is. */
export interface FoundHeader {
  readonly header: LuksHeader;
  readonly backend: StorageBackend;
  readonly volume: Volume;
}

/** Of a disk without an encryption block too, if it has one; undefined where there is none that can be read. */
export async function headerOn(fact: DiskFacts, storage: StorageRegistry): Promise<FoundHeader | undefined> {
  const volume = volumeOf(fact);
  if (volume === undefined) return undefined;
  // planning does not read what it takes for somebody else's
  const isRead = fact.kind === "annotated" && fact.probe !== undefined;
  // a logical volume that is not active would be activated for the look
  if (!isRead && volume.kind === "block" && !existsSync(volume.path)) return undefined;
  const backend = await storage.findBackend(volume);
  const probe = isRead ? fact.probe : await backend?.probe(volume, "header");
  return backend === undefined || probe?.kind !== "luks"
    ? undefined
    : { header: probe.header, backend, volume };
}

function volumeOf(fact: DiskFacts): Volume | undefined {
  return fact.kind === "annotated" || fact.disk.encrypted ? fact.disk.volume : fact.luks?.volume;
}

/** As the volume's own header says, whatever the record does. */
export async function headerStatus({ volume, header, backend }: FoundHeader): Promise<Partial<DiskStatus>> {
  return {
    format: header.version === 1 ? "luks" : "luksv2",
    cipher: header.cipher,
    keySize: header.keySize,
    keyslots: header.keyslots.filter(({ active }) => active).length,
    payloadOffset: header.payloadOffset,
    guestSize: Number(await backend.guestSize(volume, header)),
  };
}
