import { diskInfoFromVmConfig } from "../../disk-info/from-vm-config.js";
import type { Guest } from "../../host/host-adapter.js";
import { policyAsks, vmAsks, vmTags } from "../../host/proxmox/asks.js";
import { encryptedStoragesOf } from "../../host/proxmox/encrypted-storages.js";
import type { Pools } from "../../host/proxmox/pools.js";
import type { StorageConfig } from "../../host/proxmox/storage-config.js";
import type { StoragesRecord } from "../../host/proxmox/storages-policy.js";
import { renderVmOptions, type VmOptions } from "./vm-config.js";

export interface VmFacts {
  readonly vmid: number | string;
  /** As Proxmox VE has it in memory, or `parseVmConfig(…).options`. */
  readonly config: VmOptions;
  readonly storages: StorageConfig;
  readonly pools: Pools;
  /** Our record of the encrypted storages, for whoever may start the guest. */
  readonly record?: StoragesRecord;
  /** Name of this node, whose storages a disk can be moved to. */
  readonly node?: string;
}

/** @throws GUEST_CONFIG_INVALID */
export function guestFromVmConfig({ vmid, config, storages, pools, record, node }: VmFacts): Guest {
  const id = String(vmid);
  const pool = pools.get(id);
  return {
    id,
    name: config["name"] ?? id,
    disks: diskInfoFromVmConfig(config, storages),
    asks: [
      ...(record === undefined ? [] : policyAsks(id, config, storages, record)),
      ...vmAsks(config, storages),
    ],
    encryptedStorages: encryptedStoragesOf(storages, node),
    tags: vmTags(config),
    ...(pool === undefined ? {} : { pool }),
    configuration: renderVmOptions(config),
  };
}
