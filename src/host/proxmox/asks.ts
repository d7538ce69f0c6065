import { drivesOf } from "../../disk-info/from-vm-config.js";
import { volumeOfDrive } from "../../disk-info/vm-volume.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { parseVolumeId } from "../../guest-config/proxmox/drive.js";
import type { VmOptions } from "../../guest-config/proxmox/vm-config.js";
import type { Ask } from "../../request/ask.js";
import { STORAGE_TYPE, type StorageConfig, wordsOf } from "./storage-config.js";
import { volumeAtPlace } from "./plain-place.js";
import {
  baseShared,
  recordDamaged,
  sharedBases,
  storageChanged,
  storageFindings,
  type StoragesRecord,
} from "./storages-policy.js";

/** The tag by which a guest asks for encryption of all its disks. */
const ASKING_TAG = "encrypt";

/**
 * Who asks for encryption in a guest's configuration: its tag `encrypt`, for all disks; and every storage of type
 * luksmith, for its volumes, so that one whose key nobody knows is refused. Such a storage has no say about the profile:
 * its volumes were made with one, whatever its section says by now.
 */
export function vmAsks(config: VmOptions, storages: StorageConfig): Ask[] {
  const byStorage = new Map<string, string[]>();
  const problems: Ask[] = [];
  for (const drive of drivesOf(config)) {
    const { isEncrypted, problem } = volumeOfDrive(drive, storages);
    const storage = parseVolumeId(drive.file)?.storage;
    if (!isEncrypted || storage === undefined) continue;
    byStorage.set(storage, [...(byStorage.get(storage) ?? []), drive.dev]);
    if (problem !== undefined) problems.push(problemAsk(storage, drive.dev, problem));
  }
  const asks = [...byStorage].map(([storage, disks]): Ask => ({
    source: `storage ${storage}`,
    enabled: true,
    disks,
  }));
  const isTagged = vmTags(config).some((tag) => tag.toLowerCase() === ASKING_TAG);
  return [...(isTagged ? [{ source: `tag ${ASKING_TAG}`, enabled: true }] : []), ...asks, ...problems];
}

/**
 * Refuses a guest one of whose volumes is on storage that is not the encrypted storage that our record says it is: it
 * can be plain by now; or on plain storage that has ciphertext among its volumes. As a voice that is heard before a start only, so that a guest that runs can be stopped.
 */
export function policyAsks(
  vmid: string,
  config: VmOptions,
  storages: StorageConfig,
  record: StoragesRecord,
): Ask[] {
  const volumes = [...drivesOf(config), ...savedMemory(config)].flatMap(({ dev, file }) => {
    const id = parseVolumeId(file);
    return id === undefined ? [] : [{ dev, ...id }];
  });
  const shared = sharedBases(storages, record);
  const onShared = volumes.flatMap(({ dev, storage, volume }) => {
    const found = shared.find((candidate) => candidate.storage === storage);
    const place = storages.get(storage)?.place;
    // whatever has a path tells by its header what it is; an ISO image is no volume of a guest
    if (found === undefined || place === undefined || volumeAtPlace(place, volume)?.kind !== "rbd") return [];
    return [refusal(storage, baseShared({ dev, vmid }, found))];
  });
  if (record.kind === "damaged") {
    const plain = volumes.filter(({ storage }) => storages.get(storage)?.type !== STORAGE_TYPE);
    const damaged = plain.slice(0, 1).map(({ dev, storage }) => refusal(storage, recordDamaged(dev, record)));
    return [...damaged, ...onShared];
  }
  const findings = storageFindings(storages, record).filter(({ kind }) => kind !== "not-recorded");
  const changed = volumes.flatMap(({ dev, storage }) => {
    const finding = findings.find((candidate) => candidate.storage === storage);
    return finding === undefined ? [] : [refusal(storage, storageChanged(dev, finding))];
  });
  return [...changed, ...onShared];
}

/** The volume that a guest in hibernation resumes from. */
function savedMemory({ vmstate }: VmOptions): { dev: string; file: string }[] {
  return vmstate === undefined ? [] : [{ dev: "vmstate", file: vmstate }];
}

/** The guest's tags, as the operator's rules match them. */
export function vmTags(config: VmOptions): string[] {
  return wordsOf(config["tags"] ?? "");
}

function problemAsk(storage: string, dev: string, why: string): Ask {
  const problem = new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `disk ${dev} must be encrypted and cannot be`,
    why,
    hint: "see /etc/pve/storage.cfg, and the disk's line in: qm config VMID",
  });
  return { ...refusal(storage, problem), disks: [dev] };
}

function refusal(storage: string, problem: LuksmithError): Ask {
  return { source: `storage ${storage}`, enabled: undefined, problem };
}
