import { join, posix } from "node:path";
import type { ProxmoxBase } from "../../generated/proxmox-storage.js";
import type { Volume } from "../../storage/volume.js";

/** Where a storage that does not encrypt has its volumes, as far as its section tells. */
export type PlainPlace =
  | { readonly type: "directory"; readonly path: string; readonly images: string }
  | { readonly type: "btrfs"; readonly path: string; readonly images: string }
  | { readonly type: "lvm"; readonly vg: string }
  | { readonly type: "zfs"; readonly dataset: string }
  /** `outside`: on a cluster that Proxmox VE does not run itself. */
  | {
      readonly type: "rbd";
      readonly pool: string;
      readonly namespace: string;
      readonly outside: boolean;
    };

type Options = ReadonlyMap<string, string>;

/** Types that Proxmox VE mounts by itself, below /mnt/pve unless they say where. */
const MOUNTED: ReadonlySet<string> = new Set(["nfs", "cifs", "cephfs"]);

/** Undefined for a type whose volumes are on another host, or that has none for guests. */
export function plainPlaceOf(id: string, type: string, options: Options): PlainPlace | undefined {
  const vg = options.get("vgname");
  const pool = options.get("pool");
  switch (type) {
    case "lvm":
    case "lvmthin":
      return vg === undefined ? undefined : { type: "lvm", vg };
    case "zfspool":
      return pool === undefined ? undefined : { type: "zfs", dataset: pool };
    case "rbd":
      return {
        ...{ type, pool: pool ?? "rbd", namespace: options.get("namespace") ?? "" },
        outside: options.get("monhost") !== undefined,
      };
    default:
      return directoryOf(id, type, options);
  }
}

function directoryOf(id: string, type: string, options: Options): PlainPlace | undefined {
  if (type !== "dir" && type !== "btrfs" && !MOUNTED.has(type)) return undefined;
  const path = options.get("path") ?? (MOUNTED.has(type) ? `/mnt/pve/${id}` : undefined);
  if (!path?.startsWith("/")) return undefined;
  const named = (options.get("content-dirs") ?? "").split(",").map((pair) => pair.split("="));
  const images = join(path, named.find(([content]) => content?.trim() === "images")?.[1] ?? "images");
  return { type: type === "btrfs" ? type : "directory", path: posix.normalize(path), images };
}

/**
 * Where a volume for guests lies, by its name without the storage. A linked clone goes by its own part of the name.
 * Undefined for a name that is none, and for other content, such as ISO images.
 */
export function volumeAtPlace(place: PlainPlace, name: string): Volume | undefined {
  if (place.type === "directory" || place.type === "btrfs") {
    const [, vmid, file] = /(?:^|\/)([1-9][0-9]*)\/([^/\s]+)$/.exec(name) ?? [];
    if (vmid === undefined || file === undefined || file.startsWith(".")) return undefined;
    const image = place.type === "btrfs" && file.endsWith(".raw") ? `${file.slice(0, -4)}/disk.raw` : file;
    return { kind: "file", path: join(place.images, vmid, image), format: "raw" };
  }
  const own = name.split("/").at(-1) ?? "";
  if (!/^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(own)) return undefined;
  switch (place.type) {
    case "lvm":
      return { kind: "block", path: `/dev/${place.vg}/${own}`, format: "raw" };
    case "zfs":
      return { kind: "block", path: `/dev/zvol/${place.dataset}/${own}`, format: "raw" };
    case "rbd": {
      const { pool, namespace } = place;
      return { kind: "rbd", pool, ...(namespace && { namespace }), image: own, format: "raw" };
    }
  }
}

/**
 * Whether ciphertext that is on the base is among what the storage gives to guests. LVM goes by names within a volume
 * group, whatever thin pool they are in. In doubt, of clusters outside, yes.
 */
export function showsBase(place: PlainPlace, base: ProxmoxBase): boolean {
  switch (base.type) {
    case "directory": {
      if (place.type !== "directory" && place.type !== "btrfs") return false;
      const path = `${posix.normalize(base.path).replace(/\/+$/, "")}/`;
      return (
        [place.path, place.images].some((own) => `${own.replace(/\/+$/, "")}/` === path) ||
        path.startsWith(`${place.images}/`)
      );
    }
    case "lvm":
    case "lvm-thin":
      return place.type === "lvm" && place.vg === base.vg;
    case "zfs":
      return place.type === "zfs" && place.dataset === base.dataset;
    case "rbd": {
      if (place.type !== "rbd" || place.pool !== base.pool) return false;
      return place.namespace === (base.namespace ?? "") && place.outside === isOutside(base.conf);
    }
  }
}

/** Where Proxmox VE keeps the configuration of its own cluster, and the usual link to it. */
function isOutside(conf: string | undefined): boolean {
  return conf !== undefined && conf !== "/etc/ceph/ceph.conf" && conf !== "/etc/pve/ceph.conf";
}
