import { volumeOfDisk } from "../disk-info/domain-volume.js";
import { LuksmithError } from "../error/luksmith-error.js";
import {
  type Annotations,
  type DiskAnnotation,
  isMappingAnnotation,
  type MappingAnnotation,
} from "../host/host-adapter.js";
import type { PathVolume, Volume } from "../storage/volume.js";
import { diskNamed, parseDomain } from "./domain.js";
import {
  addEncryptionBlocks,
  foreignBlock,
  isSameBlock,
  removeEncryptionBlocks,
} from "./domain-annotator.js";
import { type EncryptionElement, readEncryption } from "./encryption-element.js";
import { type MappedDisk, mappedDisk } from "./mapped-disk.js";
import { addMapping, removeMapping } from "./mapping-annotator.js";
import { type MappingEntry, readMappings } from "./mapping-metadata.js";
import { nameVolume } from "./source-path.js";

/**
 * The domain XML with these annotations, in the place of those in `replaced` where a disk has that; every other byte
 * stays. A disk that is annotated so already stays as it is.
 * @throws DISK_NOT_FOUND, VOLUME_UNSUPPORTED for a disk that cannot be annotated so, ENCRYPTION_BLOCK_FOREIGN for a
 *   disk that is annotated otherwise, GUEST_CONFIG_INVALID
 */
export function annotateDomain(xml: string, annotations: Annotations, replaced?: Annotations): string {
  return [...annotations].reduce((domain, [dev, annotation]) => {
    const now = annotationOf(domain, dev);
    if (isSame(now, annotation)) return domain;
    const old = replaced?.get(dev);
    if (old === undefined || !isSame(now, old)) return add(domain, dev, annotation);
    return add(remove(domain, dev, old), dev, annotation);
  }, xml);
}

/**
 * The domain XML without these annotations, and with those in `restored` in their place; what `annotateDomain` made
 * comes back byte for byte. A disk that is not annotated, or as it is to be, stays as it is.
 * @throws DISK_NOT_FOUND, ENCRYPTION_BLOCK_FOREIGN for a disk that is annotated otherwise, GUEST_CONFIG_INVALID
 */
export function unannotateDomain(xml: string, annotations: Annotations, restored?: Annotations): string {
  return [...annotations].reduce((domain, [dev, annotation]) => {
    const now = annotationOf(domain, dev);
    const old = restored?.get(dev);
    if (now === undefined || (old !== undefined && isSame(now, old))) return domain;
    if (!isSame(now, annotation)) throw foreign(dev, now);
    const bare = remove(domain, dev, annotation);
    return old === undefined ? bare : add(bare, dev, old);
  }, xml);
}

/**
 * The domain XML without this annotation, and with the disk on `volume`; every other byte stays. A disk that is so already
 * stays as it is. @throws DISK_NOT_FOUND, ENCRYPTION_BLOCK_FOREIGN for a disk that is annotated otherwise,
 *   VOLUME_UNSUPPORTED, GUEST_CONFIG_INVALID
 */
export function plainDomain(
  xml: string,
  dev: string,
  annotation: DiskAnnotation,
  volume: PathVolume,
): string {
  const now = annotationOf(xml, dev);
  if (now !== undefined && !isSame(now, annotation)) throw foreign(dev, now);
  return nameVolume(now === undefined ? xml : remove(xml, dev, annotation), dev, volume);
}

/** As the configuration has it, ours or foreign. */
type FoundAnnotation =
  | { readonly kind: "block"; readonly block: EncryptionElement; readonly volume: Volume }
  | { readonly kind: "mapping"; readonly mapped: MappedDisk };

function annotationOf(xml: string, dev: string): FoundAnnotation | undefined {
  const domain = parseDomain(xml);
  const disk = diskNamed(domain, dev);
  const mapped = mappedDisk(dev, disk, readMappings(domain));
  if (mapped !== undefined) return { kind: "mapping", mapped };
  const block = readEncryption(dev, disk);
  return block && { kind: "block", block, volume: volumeOfDisk(dev, disk) };
}

function isSame(now: FoundAnnotation | undefined, annotation: DiskAnnotation): boolean {
  switch (now?.kind) {
    case undefined:
      return false;
    case "block":
      return (
        !isMappingAnnotation(annotation) &&
        isSameBlock(now.block, annotation) &&
        (annotation.volume === undefined || isSameVolume(now.volume, annotation.volume))
      );
    case "mapping": {
      const { mapped } = now;
      return (
        isMappingAnnotation(annotation) && mapped.kind === "known" && isSameEntry(mapped.entry, annotation)
      );
    }
  }
}

function isSameVolume(now: Volume, { kind, path }: PathVolume): boolean {
  return now.kind === kind && now.path === path;
}

function isSameEntry(
  entry: MappingEntry,
  { mapping, format, secretUuid, volume }: MappingAnnotation,
): boolean {
  return (
    entry.name === mapping &&
    entry.format === format &&
    entry.secretUuid === secretUuid &&
    entry.type === volume.kind &&
    entry.volume === volume.path
  );
}

function add(xml: string, dev: string, annotation: DiskAnnotation): string {
  const now = annotationOf(xml, dev);
  if (now !== undefined) throw foreign(dev, now);
  if (isMappingAnnotation(annotation)) return addMapping(xml, dev, annotation);
  const { volume } = annotation;
  const pointed = volume === undefined ? xml : nameVolume(xml, dev, volume);
  return addEncryptionBlocks(pointed, new Map([[dev, annotation]]));
}

function remove(xml: string, dev: string, annotation: DiskAnnotation): string {
  if (isMappingAnnotation(annotation)) return removeMapping(xml, dev);
  return removeEncryptionBlocks(xml, new Map([[dev, annotation]]));
}

function foreign(dev: string, now: FoundAnnotation): LuksmithError {
  switch (now.kind) {
    case "block":
      return foreignBlock(dev, now.block);
    case "mapping":
      return new LuksmithError("ENCRYPTION_BLOCK_FOREIGN", {
        what: `disk ${dev} is a mapping that is not the one in question`,
        why: `it is ${now.mapped.name}`,
      });
  }
}
