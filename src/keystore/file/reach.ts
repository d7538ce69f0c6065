import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { ProtectorType } from "./protector.js";

/** These keep a master key for the machine that gave it to them. A token may be one that the network shares. */
const OF_ONE_HOST: readonly ProtectorType[] = ["systemd-creds", "tpm2"];

/** The mount point of pmxcfs (Proxmox VE's cluster file system). */
const CLUSTER = "/etc/pve";

/**
 * That every host which sees the keystore can open its master key.
 * @throws PROTECTOR_DIFFERS if the keystore is on the file system of a cluster of several nodes and `protector` is not
 */
export function requireReach(directory: string, protector: ProtectorType, cluster = CLUSTER): void {
  if (!OF_ONE_HOST.includes(protector)) return;
  // a node that is in no cluster has pmxcfs as well, and no corosync
  if (!`${resolve(directory)}/`.startsWith(`${cluster}/`) || !existsSync(join(cluster, "corosync.conf")))
    return;
  throw new LuksmithError("PROTECTOR_DIFFERS", {
    what: `the master key of the keystore ${directory} can be opened on one node only`,
    why: `all nodes see the keystore, and protector ${protector} keeps its key for the node that stored it`,
    hint: "name protector tang or file in the settings, then on that node: luksmith keystore reprotect",
  });
}
