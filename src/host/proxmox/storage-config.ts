import type { ProxmoxBase, ProxmoxStorage } from "../../generated/proxmox-storage.js";
import validate from "../../generated/validate-proxmox-storage.cjs";
import { type PlainPlace, plainPlaceOf } from "./plain-place.js";

/** What a section of /etc/pve/storage.cfg says, as far as it matters here; options that are not known are passed over. */
export interface ConfiguredStorage {
  readonly id: string;
  /** `dir`, `lvmthin`, `luksmith`, … */
  readonly type: string;
  /** Kinds of content: `images`, `iso`, …; empty where the section leaves it to the type. */
  readonly content: readonly string[];
  /** The nodes that have it; all of them without it. */
  readonly nodes?: readonly string[];
  readonly disabled: boolean;
  /** Every node sees the same volumes, as the section says; some types are shared without saying it. */
  readonly shared: boolean;
  /** Of another type: where its volumes are, as far as its section tells. */
  readonly place?: PlainPlace;
  /** Of type luksmith: what the engine is told of it. */
  readonly encrypted?: ProxmoxStorage;
  /** Of type luksmith: why its section cannot be used, as of a node that cut it down. */
  readonly problem?: string;
}

/** By ID. */
export type StorageConfig = ReadonlyMap<string, ConfiguredStorage>;

export const STORAGE_TYPE = "luksmith";

/**
 * Reads /etc/pve/storage.cfg as Proxmox VE does: a section starts after an empty line and ends at the next one, the
 * first of two equal options counts, the last of two equal sections does. Never throws: what it does not understand is
 * not there, and a disk on it is plain to us.
 */
export function parseStorageConfig(text: string): StorageConfig {
  const sections: Section[] = [];
  let section: Section | undefined;
  for (const line of text.split("\n")) {
    if (/^[ \t]*#/.test(line)) continue;
    if (line === "") {
      section = undefined;
    } else if (section !== undefined) {
      addOption(section, line);
    } else {
      section = sectionOf(line);
      if (section !== undefined) sections.push(section);
    }
  }
  const valid = sections.filter(({ id }) => /^[a-z][a-z0-9_.-]*[a-z0-9]$/i.test(id));
  return new Map([LOCAL, ...valid.map(storageOf)].map((storage) => [storage.id, storage]));
}

/** There even where no section says so. */
const LOCAL: ConfiguredStorage = {
  ...{ id: "local", type: "dir", content: [], disabled: false, shared: false },
  place: { type: "directory", path: "/var/lib/vz", images: "/var/lib/vz/images" },
};

interface Section {
  readonly id: string;
  readonly type: string;
  readonly options: Map<string, string>;
}

function sectionOf(line: string): Section | undefined {
  const [, type, id] = /^(\S+):[ \t]*(\S+)$/.exec(line.trimEnd()) ?? [];
  return type === undefined || id === undefined
    ? undefined
    : { id, type: type.toLowerCase(), options: new Map() };
}

/** An option without a value is a switch that is on. */
function addOption({ options }: Section, line: string): void {
  const [, name, value] = /^[ \t]+(\S+)(?:[ \t](.*))?$/.exec(line.trimEnd()) ?? [];
  if (name !== undefined && !options.has(name)) options.set(name, value?.trim() ?? "1");
}

function storageOf({ id, type, options }: Section): ConfiguredStorage {
  const nodes = options.get("nodes");
  const storage = {
    ...{ id, type },
    content: wordsOf(options.get("content") ?? (type === STORAGE_TYPE ? "images" : "")),
    ...(nodes === undefined ? {} : { nodes: wordsOf(nodes) }),
    disabled: isYes(options.get("disable")),
    shared: isYes(options.get("shared")),
  };
  if (type === STORAGE_TYPE) return { ...storage, ...encryptedOf(id, options) };
  const place = plainPlaceOf(id, type, options);
  return place === undefined ? storage : { ...storage, place };
}

/** As Proxmox VE writes lists. */
export function wordsOf(list: string): string[] {
  return list.split(/[\s,;]+/).filter((word) => word !== "");
}

/** As Proxmox VE reads booleans. */
export function isYes(value: string | undefined): boolean {
  return value !== undefined && /^(1|on|yes|true)$/i.test(value);
}

function encryptedOf(
  id: string,
  options: ReadonlyMap<string, string>,
): Pick<ConfiguredStorage, "encrypted" | "problem"> {
  const bases = BASES.flatMap((read) => read(options) ?? []);
  const [base, another] = bases;
  if (base === undefined) return { problem: "its section names no base" };
  if (another !== undefined) return { problem: "its section names more than one base" };
  const profile = options.get("encryption-profile");
  const encrypted = {
    ...{ id, base },
    ...(profile === undefined ? {} : { profile }),
    ...(isYes(options.get("shared")) ? { shared: true } : {}),
  };
  if (validate(encrypted)) return { encrypted };
  const reason = validate.errors?.[0];
  return { problem: `its section cannot be used: ${reason?.instancePath ?? ""} ${reason?.message ?? ""}` };
}

type ReadBase = (options: ReadonlyMap<string, string>) => ProxmoxBase | undefined;

const BASES: readonly ReadBase[] = [
  (options) => {
    const path = options.get("base-path");
    return path === undefined ? undefined : { type: "directory", path };
  },
  (options) => {
    const vg = options.get("base-vg");
    const thinpool = options.get("base-thinpool");
    if (vg === undefined) return undefined;
    return thinpool === undefined ? { type: "lvm", vg } : { type: "lvm-thin", vg, thinpool };
  },
  (options) => {
    const pool = options.get("base-pool");
    if (pool === undefined) return undefined;
    const optional = (["namespace", "conf", "user"] as const).flatMap((name) => {
      const value = options.get(`base-${name}`);
      return value === undefined ? [] : [[name, value]];
    });
    return { type: "rbd", pool, ...(Object.fromEntries(optional) as Partial<Record<string, string>>) };
  },
  (options) => {
    const dataset = options.get("base-zfs");
    return dataset === undefined ? undefined : { type: "zfs", dataset };
  },
];
