import { realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { ifThere } from "../../fs/if-there.js";
import type { ProxmoxBase, ProxmoxStorage } from "../../generated/proxmox-storage.js";
import type { StorageConfig } from "./storage-config.js";
import type { StoragesRecord } from "./storages-policy.js";

type Based = Pick<ProxmoxStorage, "id" | "base">;

/** Two storages whose volumes are the same: what Proxmox VE calls unused on the one is in use on the other. */
export interface BaseClash {
  readonly storages: readonly [string, string];
  /** `both use volume group vg1` */
  readonly why: string;
}

/** Of the host itself. */
const SYSTEM = ["bin", "boot", "etc", "lib", "lib32", "lib64", "proc", "sbin", "sys", "usr"].map(
  (name) => `/${name}`,
);
const CEPH_CONFIG = "/etc/ceph/ceph.conf";

/**
 * Before a storage is recorded for the first time, or with another base. One that was recorded so is let pass, since it
 * must be possible to turn it off: `luksmith doctor` tells of it.
 * @throws STORAGE_BASE_REFUSED
 */
export function refuseBase(storage: Based, storages: StorageConfig, record: StoragesRecord): void {
  const known = knownBases(storages, record);
  const recorded = record.kind === "known" ? record.storages : [];
  if (recorded.some(({ id, base }) => id === storage.id && sharing(base, storage.base) !== undefined)) return;
  const what = `storage ${storage.id} cannot have this base`;
  const odd = oddPlace(storage.base);
  if (odd !== undefined) {
    const hint = "give it a directory of its own, for instance /srv/luksmith";
    throw new LuksmithError("STORAGE_BASE_REFUSED", { what, why: odd, hint });
  }
  const others = known.filter(({ id }) => id !== storage.id);
  const clash = others.flatMap((other) => clashOf(storage, other) ?? [])[0];
  if (clash === undefined) return;
  const [, other] = clash.storages;
  throw new LuksmithError("STORAGE_BASE_REFUSED", {
    what,
    why: `storage ${other} is there already: ${clash.why}; Proxmox VE would take the disks of each for unused ones of the other, and remove them`,
    hint: `use storage ${other}, on further nodes too (pvesm set ${other} --nodes NODES), or choose another base`,
  });
}

/** All that there are among the configured and the recorded storages. */
export function baseClashes(storages: StorageConfig, record: StoragesRecord): BaseClash[] {
  const known = knownBases(storages, record);
  return known.flatMap((a, index) => known.slice(index + 1).flatMap((b) => clashOf(a, b) ?? []));
}

/** A storage whose section names another base than the record has both: its volumes may be on either. */
function knownBases(storages: StorageConfig, record: StoragesRecord): Based[] {
  const configured = [...storages.values()].flatMap(({ encrypted }) => encrypted ?? []);
  const recorded = record.kind === "known" ? record.storages : [];
  const others = recorded.filter(
    ({ id, base }) => !configured.some((one) => one.id === id && sharing(one.base, base) !== undefined),
  );
  return [...configured, ...others];
}

function clashOf(a: Based, b: Based): BaseClash | undefined {
  if (a.id === b.id) return undefined;
  const why = sharing(a.base, b.base);
  return why === undefined ? undefined : { storages: [a.id, b.id], why };
}

/** What two bases have in common, if a volume of the one can be a volume of the other. */
function sharing(a: ProxmoxBase, b: ProxmoxBase): string | undefined {
  if (a.type === "directory" && b.type === "directory") return sharedDirectory(a.path, b.path);
  // a thin pool has no names of its own
  if ("vg" in a && "vg" in b) return a.vg === b.vg ? `both use volume group ${a.vg}` : undefined;
  if (a.type === "rbd" && b.type === "rbd") {
    const isSame =
      a.pool === b.pool &&
      (a.namespace ?? "") === (b.namespace ?? "") &&
      (a.conf ?? CEPH_CONFIG) === (b.conf ?? CEPH_CONFIG);
    const place = a.namespace === undefined ? "" : `, namespace ${a.namespace}`;
    return isSame ? `both use Ceph pool ${a.pool}${place}` : undefined;
  }
  if (a.type === "zfs" && b.type === "zfs")
    return a.dataset === b.dataset ? `both use ZFS dataset ${a.dataset}` : undefined;
  return undefined;
}

function sharedDirectory(a: string, b: string): string | undefined {
  const [realA, realB] = [realPlace(a), realPlace(b)];
  if (realA === realB || isSameFile(realA, realB)) return `both use directory ${printable(realB)}`;
  if (isInside(realA, realB) || isInside(realB, realA))
    return `directories ${printable(realA)} and ${printable(realB)} lie one in the other`;
  return undefined;
}

/** By whatever mount it is reached. */
function isSameFile(a: string, b: string): boolean {
  const [one, other] = [a, b].map((path) => ifThere(() => statSync(path)));
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino;
}

function isInside(path: string, directory: string): boolean {
  return path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}

/** Without links, as far as it is there. */
function realPlace(path: string): string {
  const whole = resolve(path);
  const real = ifThere(() => realpathSync(whole));
  if (real !== undefined) return real;
  const above = dirname(whole);
  return above === whole ? whole : join(realPlace(above), basename(whole));
}

function oddPlace(base: ProxmoxBase): string | undefined {
  if (base.type !== "directory") return undefined;
  const { path } = base;
  const shown = printable(path);
  if (path.split("/").some((part) => part === ".." || part === ".")) return `${shown} has . or .. in it`;
  const real = realPlace(path);
  if (real === "/") return "the root directory is the host's own";
  const system = SYSTEM.find(
    (directory) => `${real}/`.startsWith(`${directory}/`) || `${resolve(path)}/`.startsWith(`${directory}/`),
  );
  return system === undefined ? undefined : `${shown} is in ${system}, which is the host's own`;
}
