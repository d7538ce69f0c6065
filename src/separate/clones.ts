import { asLuksmithError } from "../error/luksmith-error.js";
import { visible } from "../error/printable.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import { separationCommand } from "../plan/commands.js";
import type { DiskFacts } from "../plan/facts.js";
import type { StorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";
import { ownedBy } from "./owner.js";
import { type Kinship, kinshipOf } from "./same-header.js";

/** A disk whose key was made for another volume. */
interface KinDisk {
  readonly disk: DiskMapping;
  readonly record: KeyRecord;
  /** Name of the keystore that has it. */
  readonly keystore: string;
  readonly kinship: Exclude<Kinship, { kind: "own" }>;
}

/** Disks whose own volume has its key's header, while the key's record names another one. */
export async function kinDisks(facts: readonly DiskFacts[], storage: StorageRegistry): Promise<KinDisk[]> {
  const found = facts.map(async (fact): Promise<KinDisk[]> => {
    if (fact.kind === "plain" || fact.key.kind !== "found" || fact.disk.linkedClone) return [];
    const { disk, probe } = fact;
    const { record, keystore, cached } = fact.key;
    if (cached !== undefined) return [];
    if (probe?.kind !== "luks" || probe.header.uuid !== record.uuid || isSameName(disk, record)) return [];
    const kinship = await kinshipOf(disk, record, storage);
    return kinship.kind === "own" ? [] : [{ disk, record, keystore, kinship }];
  });
  return (await Promise.all(found)).flat();
}

/**
 * At the start of a guest: says which of its disks are copies, and brings the records of volumes that were moved up to
 * date. Never throws: it is no reason not to start.
 */
export async function noteKin(
  guest: Guest,
  facts: readonly DiskFacts[],
  {
    storage,
    keyring,
    logger,
  }: { readonly storage: StorageRegistry; readonly keyring: Keyring; readonly logger: Logger },
): Promise<void> {
  try {
    const kin = await kinDisks(facts, storage);
    warnOfCopies(guest, kin, logger);
    for (const disk of kin) await noteMove(guest, disk, keyring);
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    logger.warn("could not note where a volume was moved to", { guest: guest.name, error });
  }
}

/** Said at the start of a guest whose disk is a copy: who has the key of one can read both. */
function warnOfCopies(guest: Guest, kin: readonly KinDisk[], logger: Logger): void {
  for (const { disk, record, kinship } of kin) {
    if (kinship.kind !== "copy") continue;
    const text = `disk ${disk.dev} of guest ${guest.name} (${volumeName(disk.volume)}) is a copy of ${kinship.of}, and has its key ${record.uuid}: with the guest shut off, ${separationCommand(guest, disk.dev)} gives it one of its own`;
    logger.warn(visible(text), { guest: guest.name, disk: disk.dev, key: record.uuid });
  }
}

/**
 * Brings the record of a guest's own disk up to date once the volume was moved. That of another guest stays as it is:
 * its volume may be one of another host, which cannot be seen from here.
 */
async function noteMove(
  guest: Guest,
  { disk, record, keystore, kinship }: KinDisk,
  keyring: Keyring,
): Promise<void> {
  if (kinship.kind !== "moved" || record.guest.id !== guest.id) return;
  const owned = ownedBy(guest, disk);
  await (
    await keyring.get(keystore)
  ).change(keyUuidOf(record), (now) =>
    // somebody else has seen it, too
    now.volume === record.volume && now.guest.id === guest.id ? owned(now) : now,
  );
}

function isSameName(disk: DiskMapping, record: KeyRecord): boolean {
  return record.volume === volumeName(disk.volume);
}
