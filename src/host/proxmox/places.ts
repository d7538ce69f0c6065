import { join } from "node:path";

/** Where Proxmox VE and what Luksmith keeps for it are on a host; tests put them under a root of their own. */
export class ProxmoxPlaces {
  /** @param root of the host */
  constructor(readonly root = "/") {}

  /** pmxcfs: replicated to every node, 1 MiB for a file; no chmod, no links; needs a quorum to be written. */
  get pve(): string {
    return join(this.root, "etc/pve");
  }

  get storageConfig(): string {
    return join(this.pve, "storage.cfg");
  }

  /** Resource pools, among users and permissions. */
  get userConfig(): string {
    return join(this.pve, "user.cfg");
  }

  /** Configurations of the guests of every node: NODE/qemu-server/VMID.conf. */
  get nodes(): string {
    return join(this.pve, "nodes");
  }

  /** Settings of the whole cluster, and our record of its encrypted storages. Readable by the group www-data. */
  get cluster(): string {
    return join(this.pve, "luksmith");
  }

  get settings(): string {
    return join(this.cluster, "settings.json");
  }

  /** Credentials, and keys where a keystore is told to lie here. root only. */
  get clusterPrivate(): string {
    return join(this.pve, "priv/luksmith");
  }

  get storagesRecord(): string {
    return join(this.cluster, "storages.json");
  }

  /** Host secrets: VMID/START/DISK, in memory. */
  get starts(): string {
    return join(this.root, "run/luksmith/vm");
  }

  /** Exported volumes: STORAGE/VOLUME.img (the decrypted volume), and a link .pid. Nobody can write to it. */
  get exports(): string {
    return join(this.root, "run/luksmith/export");
  }

  /** The same directory, where the engine alone makes and removes what is in it. */
  get exportsWritable(): string {
    return join(this.root, "run/luksmith/export-writable");
  }

  /** STORAGE/VOLUME.pid and .qmp of the exports' storage daemons. */
  get exportDaemons(): string {
    return join(this.root, "run/luksmith/export-daemons");
  }

  /** Pid files of running guests, VMID.pid, and their QMP sockets, VMID.qmp. */
  get running(): string {
    return join(this.root, "run/qemu-server");
  }
}
