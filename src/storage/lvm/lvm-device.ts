import { readdirSync, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { errnoOf } from "../../error/luksmith-error.js";
import { ifThere } from "../../fs/if-there.js";
import { fullName, type LvName, parseMapperName } from "./lvm-name.js";
import { deviceNumber } from "../volume-file.js";

/** A device of device-mapper, as sysfs shows it: nothing here starts a process. */
export interface MappedDevice {
  /** `MAJOR:MINOR` */
  readonly number: string;
  /** Its name in device-mapper. */
  readonly name: string;
  /** What it is to LVM; undefined if it is not LVM's. */
  readonly lvm: LvmPart | undefined;
}

export type LvmPart =
  | { readonly kind: "thick"; readonly lv: LvName }
  | { readonly kind: "thin"; readonly lv: LvName; readonly pool: ThinPoolDevice }
  /** A thin pool, or a layer that LVM's volumes are made of. */
  | { readonly kind: "internal" };

export interface ThinPoolDevice {
  readonly number: string;
  /** For messages, and for LVM's commands. */
  readonly name: string;
}

/** `MAJOR:MINOR` of the block device that the path leads to, or `absent`; `other` for a file of another sort. */
export async function blockDeviceAt(path: string): Promise<string> {
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isBlockDevice()) return "other";
    const number = deviceNumber(stats);
    // the node of a device that is gone
    return attribute(number, "size") === undefined ? "absent" : number;
  } catch (thrown) {
    return ["ENOENT", "ENOTDIR"].includes(errnoOf(thrown) ?? "") ? "absent" : "other";
  }
}

/** Undefined for a device that is not one of device-mapper. */
export function mappedDevice(number: string): MappedDevice | undefined {
  const name = attribute(number, "dm/name");
  const uuid = attribute(number, "dm/uuid");
  if (name === undefined || uuid === undefined) return undefined;
  const id = parseUuid(uuid);
  return { number, name, lvm: id === undefined ? undefined : partOf(number, name, id) };
}

/** Devices that this one is made of. */
export function devicesBelow(number: string): string[] {
  return names(`/sys/dev/block/${number}/slaves`).flatMap(
    (slave) => attribute(number, `slaves/${slave}/dev`) ?? [],
  );
}

/** How LVM names what it has in device-mapper: UUIDs of group and volume without dashes, and a layer. */
interface LvmId {
  readonly group: string;
  readonly volume: string;
  readonly layer: string | undefined;
}

function parseUuid(uuid: string): LvmId | undefined {
  const [, group, volume, layer] = /^LVM-([a-zA-Z0-9]{32})([a-zA-Z0-9]{32})(?:-(.+))?$/.exec(uuid) ?? [];
  return group === undefined || volume === undefined ? undefined : { group, volume, layer };
}

/** In names of volumes that are not LVM's own, LVM allows none of these; their UUIDs say nothing. */
const RESERVED = /_[rm]image|_rmeta|_mlog|_pmspare|^pvmove/;

function partOf(number: string, name: string, id: LvmId): LvmPart {
  const lv = parseMapperName(name);
  if (id.layer !== undefined || lv === undefined || RESERVED.test(lv.volume)) return { kind: "internal" };
  const pool = poolBelow(number, id);
  return pool === undefined ? { kind: "thick", lv } : { kind: "thin", lv, pool };
}

/** The thin pool that a volume is from. A volume that has snapshots of the old kind is a layer above itself. */
function poolBelow(number: string, { group, volume }: LvmId): ThinPoolDevice | undefined {
  for (const below of devicesBelow(number)) {
    const id = parseUuid(attribute(below, "dm/uuid") ?? "");
    // what is below may be another volume group's: physical volumes can be anything
    if (id?.group !== group) continue;
    if (id.layer === "tpool") return { number: below, name: poolName(attribute(below, "dm/name") ?? below) };
    const pool = id.layer === "real" && id.volume === volume ? poolBelow(below, id) : undefined;
    if (pool !== undefined) return pool;
  }
  return undefined;
}

/** `VG/POOL` of `VG-POOL-tpool`. */
function poolName(device: string): string {
  const lv = parseMapperName(device.replace(/-tpool$/, ""));
  return lv === undefined ? device : fullName(lv);
}

function attribute(number: string, name: string): string | undefined {
  return ifThere(() => readFileSync(`/sys/dev/block/${number}/${name}`, "utf8").trimEnd());
}

function names(directory: string): string[] {
  return ifThere(() => readdirSync(directory)) ?? [];
}
