import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { guestFromVmConfig } from "../../guest-config/proxmox/vm-guest.js";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { ifThere } from "../../fs/if-there.js";
import { parseVmConfig, type VmConfig, type VmOptions } from "../../guest-config/proxmox/vm-config.js";
import type { ConfiguredGuest, Guest, GuestSummary } from "../host-adapter.js";
import { resumes } from "./events.js";
import type { ProxmoxPlaces } from "./places.js";
import { parsePools } from "./pools.js";
import { readStoragesRecord } from "./read-storages-record.js";
import { isRunning } from "./running.js";
import { parseStorageConfig, type StorageConfig } from "./storage-config.js";

/** A guest's configuration file, and the node that it is at home on. */
export interface GuestFile {
  readonly vmid: string;
  readonly node: string;
  readonly path: string;
}

/** The guests of the cluster, as /etc/pve has them; those of this node can run here. Containers are not among them. */
export class ProxmoxGuests {
  constructor(private readonly places: ProxmoxPlaces) {}

  /** A guest as it would start with these options. @throws GUEST_CONFIG_INVALID */
  of(vmid: string, config: VmOptions): Guest {
    const pools = parsePools(this.#text(this.places.userConfig));
    const record = readStoragesRecord(this.places);
    return guestFromVmConfig({ vmid, config, storages: this.storages(), pools, record, node: this.node() });
  }

  /** @throws HOST_UNAVAILABLE if there is none: the cluster's file system is away */
  storages(): StorageConfig {
    return parseStorageConfig(this.#text(this.places.storageConfig));
  }

  list(): GuestSummary[] {
    return this.files().flatMap((file) => {
      const config = this.config(file);
      if (config === undefined) return [];
      const { vmid: id } = file;
      const summary = { id, name: config.options["name"] ?? id };
      if (file.node !== this.node()) return [{ ...summary, running: false, elsewhere: true as const }];
      return [{ ...summary, running: isRunning(id, this.places) }];
    });
  }

  /** By VMID or name. @throws GUEST_NOT_FOUND, GUEST_CONFIG_INVALID */
  read(nameOrId: string): ConfiguredGuest {
    const file = this.find(nameOrId);
    const config = this.config(file);
    if (config === undefined) throw notFound(nameOrId, "it was removed meanwhile");
    const isHere = file.node === this.node();
    return {
      ...this.of(file.vmid, config.options),
      running: isHere && isRunning(file.vmid, this.places),
      saved: resumes(config.options),
    };
  }

  find(nameOrId: string): GuestFile {
    const files = this.files();
    const byId = files.filter(({ vmid }) => vmid === nameOrId);
    const [found, another] =
      byId.length > 0 ? byId : files.filter((file) => this.config(file)?.options["name"] === nameOrId);
    if (found === undefined) throw notFound(nameOrId, "no VM has this name or VMID");
    if (another === undefined) return found;
    const ids = `${found.vmid}, ${another.vmid}`;
    throw notFound(nameOrId, `more than one VM has this name: ${ids}`, "use the VMID");
  }

  /** In the order of their VMIDs. */
  files(): GuestFile[] {
    const files = namesIn(this.places.nodes).flatMap((node) =>
      namesIn(join(this.places.nodes, node, "qemu-server")).flatMap((name): GuestFile[] => {
        const vmid = /^([1-9][0-9]{2,8})\.conf$/.exec(name)?.[1];
        const path = join(this.places.nodes, node, "qemu-server", name);
        return vmid === undefined ? [] : [{ vmid, node, path }];
      }),
    );
    return files.sort((a, b) => Number(a.vmid) - Number(b.vmid));
  }

  /** Undefined for one that is gone, or on its way to another node. */
  config({ path }: GuestFile): VmConfig | undefined {
    const bytes = ifThere(() => readFileSync(path));
    return bytes === undefined ? undefined : parseVmConfig(bytes);
  }

  /** Name of this node: of the link that the cluster's file system has to it, or the host's own. */
  node(): string {
    const link = ifThere(() => readlinkSync(join(this.places.pve, "local")));
    return link === undefined ? (hostname().split(".")[0] ?? "") : basename(link);
  }

  nodes(): string[] {
    return namesIn(this.places.nodes);
  }

  /** Empty where there is no such file, on a host that has its cluster file system. @throws HOST_UNAVAILABLE */
  #text(path: string): string {
    try {
      return readFileSync(path, "utf8");
    } catch (thrown) {
      const errno = errnoOf(thrown);
      if (errno === undefined) throw thrown;
      if (errno === "ENOENT" && namesIn(this.places.nodes).length > 0) return "";
      throw new LuksmithError("HOST_UNAVAILABLE", {
        what: `cannot read ${path}`,
        why: errno === "ENOENT" ? "the cluster's file system is not mounted" : errno,
        hint: "see: systemctl status pve-cluster",
        cause: thrown,
      });
    }
  }
}

function namesIn(directory: string): string[] {
  return (ifThere(() => readdirSync(directory)) ?? []).sort();
}

function notFound(nameOrId: string, why: string, hint = "see: qm list"): LuksmithError {
  return new LuksmithError("GUEST_NOT_FOUND", {
    what: `cannot find guest "${printable(nameOrId)}"`,
    why,
    hint,
  });
}
