import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import type { HostCheck } from "../host-adapter.js";
import { sendsPlaintext } from "./migration-traffic.js";
import { checkNative } from "./native-opening.js";
import type { ProxmoxPlaces } from "./places.js";
import { readStoragesRecord } from "./read-storages-record.js";
import { baseClashes } from "./same-base.js";
import type { StorageConfig } from "./storage-config.js";
import { sharedBases, storageFindings } from "./storages-policy.js";

/** What the checks look at. */
export interface Cluster {
  readonly places: ProxmoxPlaces;
  readonly storages: StorageConfig;
  readonly nodes: readonly string[];
  readonly settings: Pick<EffectiveSettings, "keystores">;
}

/** What `luksmith doctor` says about Proxmox VE itself. */
export function proxmoxChecks(cluster: Cluster): HostCheck[] {
  return [
    ...checkNative(cluster.places),
    checkFuse(cluster.places),
    ...checkStorages(cluster),
    ...checkBases(cluster),
    ...checkPlainStorages(cluster),
    ...checkSettings(cluster.places),
    ...checkKeystores(cluster),
    ...checkMigration(cluster.places),
  ];
}

function checkFuse({ root }: ProxmoxPlaces): HostCheck {
  const name = "FUSE";
  const path = join(root, "dev/fuse");
  if (ifThere(() => statSync(path).isCharacterDevice()))
    return { name, result: "ok", detail: `${path} is there` };
  const detail = `${path} is not there: volumes cannot be exported for clones, imports and TPM state`;
  return { name, result: "failed", detail, hint: "modprobe fuse" };
}

function checkStorages({ places, storages }: Cluster): HostCheck[] {
  const name = "encrypted storages";
  const record = readStoragesRecord(places);
  if (record.kind === "damaged") {
    const detail = `Luksmith's record of them, ${record.path}, cannot be read: ${record.why}`;
    const hint = "remove it, then run for each storage of type luksmith: pvesm set STORAGE --content images";
    return [{ name, result: "failed", detail, hint }];
  }
  const findings = storageFindings(storages, record);
  const unusable = [...storages.values()].filter(({ problem }) => problem !== undefined);
  const checks = findings.map(({ kind, why, hint }): HostCheck => ({
    ...{ name, result: kind === "not-recorded" ? "warning" : "failed", detail: why, hint },
  }));
  const told = new Set(findings.filter(({ kind }) => kind !== "not-recorded").map(({ storage }) => storage));
  const problems = unusable
    .filter(({ id }) => !told.has(id))
    .map(({ id, problem = "" }): HostCheck => ({
      name,
      result: "failed",
      detail: `storage ${id}: ${problem}`,
    }));
  const all = [...checks, ...problems];
  if (all.length > 0) return all;
  const ids = encrypted({ storages }).map(({ id }) => id);
  if (ids.length > 0) return [{ name, result: "ok", detail: `${ids.join(", ")}, as recorded` }];
  const hint = "pvesm add luksmith NAME --base-path DIRECTORY (or --base-vg, --base-pool, --base-zfs)";
  return [{ name, result: "warning", detail: "there is none: no disk of a VM is encrypted", hint }];
}

/** What is refused when a storage is added, and was added before that, or by hand. */
function checkBases({ places, storages }: Cluster): HostCheck[] {
  return baseClashes(storages, readStoragesRecord(places)).map(({ storages: [one, other], why }) => ({
    name: "bases of encrypted storages",
    result: "failed",
    detail: `storages ${one} and ${other}: ${why}; qm rescan takes the disks of each for unused ones of the other, and removing these destroys disks in use`,
    hint: `do not run qm rescan; move the disks of one away (qm disk move), then pvesm remove it`,
  }));
}

/** Ciphertext among the volumes of a storage that does not encrypt can be started as a plain disk. */
function checkPlainStorages({ places, storages }: Cluster): HostCheck[] {
  return sharedBases(storages, readStoragesRecord(places)).map(({ storage, encrypted: other }) => ({
    name: `storage ${storage}`,
    result: "warning",
    detail: `it does not encrypt, and has the base of encrypted storage ${other}: guests with disks on it do not start`,
    hint: `give one of them another base; plain disks: qm disk move VMID DISK ${other} --delete 1`,
  }));
}

/** Those of this node alone look as if they held, and do not. */
function checkSettings({ root, settings }: ProxmoxPlaces): HostCheck[] {
  const local = join(root, "etc/luksmith/settings.json");
  if (!existsSync(local)) return [];
  const detail = `${local} is not read on Proxmox VE, whose settings are those of the cluster: ${settings}`;
  const hint = existsSync(settings) ? `remove it` : `luksmith settings set < ${local}, then remove it`;
  return [{ name: "settings", result: "warning", detail, hint }];
}

/** A key that one node has alone opens nothing where the guest fails over to, or migrates. */
function checkKeystores({ places, nodes, storages, settings }: Cluster): HostCheck[] {
  if (nodes.length < 2 || encrypted({ storages }).length === 0) return [];
  return settings.keystores.flatMap((keystore): HostCheck[] => {
    if (keystore.type !== "file") return [];
    const name = `keystore ${keystore.name} in the cluster`;
    const { directory, protector } = keystore;
    if (!`${directory}/`.startsWith(`${places.pve}/`)) {
      const detail = `${directory} is this node's alone: of ${nodes.length} nodes, the others cannot open what it has the keys of`;
      const hint = `put the keystore into ${places.clusterPrivate}/keystore, or use one behind the network`;
      return [{ name, result: "warning", detail, hint }];
    }
    if (!`${directory}/`.startsWith(`${join(places.pve, "priv")}/`)) {
      const detail = `the group www-data can read ${directory}`;
      return [{ name, result: "failed", detail, hint: `put it into ${places.clusterPrivate}/keystore` }];
    }
    const isOfOneNode = protector.type === "tpm2" || protector.type === "systemd-creds";
    if (!isOfOneNode) return [];
    const detail = `protector ${protector.type} is bound to one node: the others cannot open its master key`;
    return [
      { name, result: "warning", detail, hint: "use protector tang, or file, for a keystore of the cluster" },
    ];
  });
}

function checkMigration({ pve }: ProxmoxPlaces): HostCheck[] {
  const path = join(pve, "datacenter.cfg");
  if (!sendsPlaintext(ifThere(() => readFileSync(path, "utf8")) ?? "")) return [];
  const detail = `${path} lets guests migrate in plaintext: their memory, and local disks decrypted`;
  return [{ name: "migration", result: "warning", detail, hint: "set there: migration: secure" }];
}

function encrypted({ storages }: Pick<Cluster, "storages">) {
  return [...storages.values()].filter((storage) => storage.encrypted !== undefined);
}
