import { wordsOf } from "./storage-config.js";

/** The resource pool of each guest, by VMID. */
export type Pools = ReadonlyMap<string, string>;

const POOL = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+){0,2}$/;

/**
 * Reads the pools in /etc/pve/user.cfg, `pool:NAME:COMMENT:VMIDS:STORAGES:`, and nothing else of it: it has users and
 * their second factors. A guest is in one pool; of two lines that claim it, the first counts.
 */
export function parsePools(text: string): Pools {
  const pools = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [kind, name = "", , vmids = ""] = line.split(":").map((field) => field.trim());
    if (kind !== "pool" || !POOL.test(name)) continue;
    for (const vmid of wordsOf(vmids)) {
      if (!/^[0-9]+$/.test(vmid)) continue;
      const id = String(Number(vmid));
      if (!pools.has(id)) pools.set(id, name);
    }
  }
  return pools;
}
