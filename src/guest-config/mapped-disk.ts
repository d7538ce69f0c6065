import { keyOfMapping } from "../encryption/dm-crypt/mapping-name.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { MappingEntry, MappingMetadata } from "./mapping-metadata.js";
import type { XmlElement } from "./xml-element.js";

/** A disk that is given a mapping of ours. */
export type MappedDisk =
  | { readonly kind: "known"; readonly name: string; readonly entry: MappingEntry }
  /** No metadata tell what lies under it; the mapping's name tells the key. */
  | { readonly kind: "orphan"; readonly name: string; readonly uuid: KeyUuid };

/**
 * Undefined for a disk that names no mapping of ours. An entry holds only for a disk whose source is that very
 * mapping: somebody may have edited the source since.
 */
export function mappedDisk(dev: string, disk: XmlElement, metadata: MappingMetadata): MappedDisk | undefined {
  const name = mappingNamed(disk);
  if (name === undefined) return undefined;
  const entry = metadata.entries.get(dev);
  if (entry?.name === name) return { kind: "known", name, entry };
  const uuid = keyOfMapping(name);
  return uuid === undefined ? undefined : { kind: "orphan", name, uuid };
}

/** NAME of a disk whose source is /dev/mapper/NAME. */
function mappingNamed(disk: XmlElement): string | undefined {
  const source = disk.element("source");
  const path = disk.attribute("type") === "block" ? source?.attribute("dev") : source?.attribute("file");
  return /^\/dev\/mapper\/([A-Za-z0-9+_.-]+)$/.exec(path ?? "")?.[1];
}

/** The keys of mappings of ours in the layers under a disk's own file: an external snapshot lies over one. */
export function backingMappingKeys(disk: XmlElement, metadata: MappingMetadata): KeyUuid[] {
  const keys: KeyUuid[] = [];
  for (let layer = disk.element("backingStore"); layer !== undefined; layer = layer.element("backingStore")) {
    const name = mappingNamed(layer);
    const entry = [...metadata.entries.values()].find((known) => known.name === name);
    const uuid = name === undefined ? undefined : (entry?.secretUuid ?? keyOfMapping(name));
    if (uuid !== undefined) keys.push(uuid);
  }
  return keys;
}
