import { join } from "node:path";
import type { ProxmoxBase } from "../../generated/proxmox-storage.js";
import type { Volume } from "../../storage/volume.js";

/** What the storage backends call a volume of a base: as `BaseStorage.volume` has it, which needs more than this. */
export function volumeOnBase(base: ProxmoxBase, name: string): Volume {
  switch (base.type) {
    case "directory":
      return { kind: "file", path: join(base.path, `${name}.luks`), format: "raw" };
    case "lvm":
    case "lvm-thin":
      return { kind: "block", path: `/dev/${base.vg}/${name}`, format: "raw" };
    case "zfs":
      return { kind: "block", path: `/dev/zvol/${base.dataset}/${name}`, format: "raw" };
    case "rbd": {
      const { type: kind, user = "admin", conf = "/etc/ceph/ceph.conf", ...place } = base;
      return { kind, ...place, image: name, format: "raw", user, conf };
    }
  }
}
