import { MOST_WRITTEN } from "../../encryption/luks-image.js";
import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import { probeRaw } from "./raw-probe.js";
import type { RawVolume } from "./raw-volume.js";
import { formatRefused, passphraseRejected } from "../volume-error.js";

export interface EmptinessRequest {
  /** Of the storage. */
  readonly formats: readonly EncryptionFormat[];
  /** Bytes at the start that are of our own making, whatever they are. */
  readonly ours: number;
}

/** @throws VOLUME_NOT_EMPTY, VOLUME_UNREADABLE, LUKS_UUID_MISMATCH, PASSPHRASE_REJECTED (data behind what is ours) */
export async function proveEmpty(volume: RawVolume, { formats, ours }: EmptinessRequest): Promise<void> {
  const allocation = await volume.allocation();
  const overwritten = { offset: 0, length: MOST_WRITTEN };
  // what a format overwrites comes last: not every writer heeds locks
  if ((await volume.readsAsZero(allocation, ours)) && (await volume.readsAsZero([overwritten], ours))) {
    const signature = await volume.obstacle();
    if (signature !== undefined) throw formatRefused(volume.name, { kind: "data", signature });
    return;
  }
  if (ours > 0) throw passphraseRejected(volume.name);
  const probe = await probeRaw(volume, { depth: "read", formats });
  throw formatRefused(volume.name, probe.kind === "empty" ? { kind: "allocated" } : probe);
}
