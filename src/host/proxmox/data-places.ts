import { join } from "node:path";
import { readFileSync } from "node:fs";
import { ifThere } from "../../fs/if-there.js";
import { printable } from "../../error/printable.js";
import { isCloudInit, parseDrive, parseVolumeId } from "../../guest-config/proxmox/drive.js";
import { parseVmConfig, type VmConfig, type VmOptions } from "../../guest-config/proxmox/vm-config.js";
import type { DiskMapping } from "../../disk-info/disk-info.js";
import { volumeName } from "../../storage/volume.js";
import { liesOnDmCrypt } from "../block-stack.js";
import type { DataPlace } from "../data-place.js";
import type { ConfiguredGuest } from "../host-adapter.js";
import { swapPlaces } from "../host-swap.js";
import { migrationPlaces } from "./migration-traffic.js";
import type { ProxmoxPlaces } from "./places.js";
import type { StorageConfig } from "./storage-config.js";

/** What is known of a guest besides its own options. */
export interface Surroundings {
  readonly storages: StorageConfig;
  /** Its configuration file, with its snapshots. */
  readonly file: VmConfig | undefined;
  readonly places: ProxmoxPlaces;
}

/** Where data of a guest of Proxmox VE are besides its encrypted disks. */
export function dataPlacesOf(guest: ConfiguredGuest, surroundings: Surroundings): DataPlace[] {
  const { storages, file, places } = surroundings;
  const { options } = parseVmConfig(guest.configuration);
  const datacenter = ifThere(() => readFileSync(join(places.pve, "datacenter.cfg"), "utf8")) ?? "";
  return distinct([
    ...Object.values(guest.disks.mapping).flatMap((disk) => diskPlaces(guest, disk, options[disk.dev])),
    ...unusedPlaces(guest, options, storages),
    ...memoryPlaces(guest, options, storages),
    ...[...(file?.snapshots ?? [])].flatMap(([name, snapshot]) => snapshotPlaces(name, snapshot, storages)),
    ...devicePlaces(options),
    BACKUPS,
    ...migrationPlaces(datacenter),
    ...swapPlaces(),
  ]);
}

const MEMORY = "what the guest had in memory, files that it had read among it";

const BACKUPS: DataPlace = {
  kind: "backup",
  protection: "possible",
  detail: "a backup (vzdump) reads the disks decrypted, and its archive holds them in plaintext",
  hint: "back up to Proxmox Backup Server with an encryption key, or keep the archives on encrypted storage",
};

function diskPlaces({ id }: ConfiguredGuest, disk: DiskMapping, value: string | undefined): DataPlace[] {
  const { dev, volume, encrypted, type } = disk;
  // arguments for QEMU have a place of their own
  if (encrypted || volume.kind === "none" || dev === "args") return [];
  const where = volumeName(volume);
  if (type === "cdrom") {
    if (value === undefined || !isCloudInit(parseDrive(dev, value))) return [];
    const hint = `make it on encrypted storage: qm set ${id} --delete ${dev}, then qm set ${id} --${dev} STORAGE:cloudinit`;
    const detail = "cloud-init drive: passwords, keys and addresses of the guest";
    return [{ kind: "medium", where, protection: "plaintext", detail, hint }];
  }
  if ((volume.kind === "block" || volume.kind === "other") && volume.path !== undefined) {
    const detail = `disk ${dev}, over dm-crypt of the host`;
    if (liesOnDmCrypt(volume.path)) return [{ kind: "disk", where, protection: "encrypted", detail }];
  }
  const hint = `move it to encrypted storage: qm disk move ${id} ${dev} STORAGE`;
  if (dev.startsWith("efidisk"))
    return [{ kind: "nvram", where, protection: "plaintext", detail: "the guest's UEFI variables", hint }];
  if (dev.startsWith("tpmstate"))
    return [
      { kind: "tpm-state", where, protection: "plaintext", detail: "all that the guest's TPM keeps", hint },
    ];
  return [{ kind: "disk", where, protection: "plaintext", detail: `disk ${dev} of the guest`, hint }];
}

function unusedPlaces({ id }: ConfiguredGuest, options: VmOptions, storages: StorageConfig): DataPlace[] {
  return Object.entries(options).flatMap(([name, value]): DataPlace[] => {
    if (!/^unused\d+$/.test(name) || isEncrypted(value, storages)) return [];
    const detail = `${name}: a volume that no disk uses any more, with whatever is on it`;
    const hint = `delete it: qm set ${id} --delete ${name}`;
    return [{ kind: "disk", where: printable(value), protection: "plaintext", detail, hint }];
  });
}

function memoryPlaces({ id }: ConfiguredGuest, options: VmOptions, storages: StorageConfig): DataPlace[] {
  const { vmstate, vmstatestorage: target } = options;
  if (vmstate !== undefined) {
    const where = printable(vmstate);
    if (isEncrypted(vmstate, storages))
      return [{ kind: "saved-memory", where, protection: "encrypted", detail: "on an encrypted storage" }];
    const hint = `resume the guest and shut it down, or discard it: qm set ${id} --delete vmstate`;
    return [{ kind: "saved-memory", where, protection: "plaintext", detail: MEMORY, hint }];
  }
  if (target !== undefined && storages.get(target)?.encrypted !== undefined) return [];
  const detail = `nothing now; hibernation, and snapshots with memory, write ${MEMORY} to ${
    target === undefined ? "a storage that Proxmox VE chooses" : `storage ${printable(target)}`
  }`;
  const hint = `have it encrypted: qm set ${id} --vmstatestorage STORAGE`;
  return [{ kind: "saved-memory", protection: "possible", detail, hint }];
}

function snapshotPlaces(name: string, { vmstate }: VmOptions, storages: StorageConfig): DataPlace[] {
  if (vmstate === undefined) return [];
  const where = printable(vmstate);
  const of = `of snapshot ${printable(name)}`;
  if (isEncrypted(vmstate, storages))
    return [
      { kind: "snapshot-memory", where, protection: "encrypted", detail: `${of}, on an encrypted storage` },
    ];
  const hint =
    "delete the snapshot, and take one without memory, or with vmstatestorage on encrypted storage";
  return [{ kind: "snapshot-memory", where, protection: "plaintext", detail: `${of}: ${MEMORY}`, hint }];
}

const DEVICES: readonly (readonly [RegExp, DataPlace["kind"], DataPlace["protection"], string])[] = [
  [
    /^(hostpci|usb|serial|parallel)\d+$/,
    "host-device",
    "possible",
    "a device of the host: Luksmith cannot see what is on it",
  ],
  [
    /^virtiofs\d+$/,
    "shared-directory",
    "plaintext",
    "a directory of the host: what the guest writes there is the host's file",
  ],
  [/^args$/, "qemu-arguments", "possible", "arguments for QEMU, which can name any file"],
];

function devicePlaces(options: VmOptions): DataPlace[] {
  return Object.entries(options).flatMap(([name, value]): DataPlace[] => {
    const found = DEVICES.find(([pattern]) => pattern.test(name));
    // a console on a socket, and a device over the network of a remote viewer, are no device of the host
    if (found === undefined || /^(socket|spice)\b/.test(value)) return [];
    const [, kind, protection, detail] = found;
    return [{ kind, where: printable(`${name}: ${value}`), protection, detail }];
  });
}

function isEncrypted(volumeId: string, storages: StorageConfig): boolean {
  const storage = parseVolumeId(volumeId.split(",")[0] ?? "")?.storage;
  return storage !== undefined && storages.get(storage)?.encrypted !== undefined;
}

function distinct(places: readonly DataPlace[]): DataPlace[] {
  return [
    ...new Map(
      places.map((place) => [JSON.stringify([place.kind, place.where, place.detail]), place]),
    ).values(),
  ];
}
