import type { MappingAnnotation } from "../host/host-adapter.js";
import { attributeSpan } from "./attribute-span.js";
import { diskNamed, parseDomain } from "./domain.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { readMappings } from "./mapping-metadata.js";
import { insertEntry, removeEntry } from "./mapping-place.js";
import { quoted } from "./quoted.js";
import { pointAt, sourcePath } from "./source-path.js";
import { applySplices } from "./splice.js";

/**
 * The domain XML with the disk's source pointed at the mapping, and an entry in the metadata that says what lies
 * under it; every other byte stays. An entry that the disk had, and that its source had left, is replaced.
 * @throws DISK_NOT_FOUND, VOLUME_UNSUPPORTED for a disk that is no file or block device, GUEST_CONFIG_INVALID
 */
export function addMapping(original: string, dev: string, annotation: MappingAnnotation): string {
  const xml = removeMappingEntry(original, dev);
  const domain = parseDomain(xml);
  const metadata = readMappings(domain);
  const [problem] = metadata.problems;
  if (problem !== undefined) throw guestConfigInvalid(`its metadata element luksmith:mappings: ${problem}`);
  const disk = diskNamed(domain, dev);
  const now = sourcePath(xml, dev, disk);
  const { kind, path } = annotation.volume;
  const { start, end } = now.span.value;
  // as it is written there, so that taking the mapping away brings back the very bytes
  const volume = now.type === kind && now.path === path ? xml.slice(start, end) : quoted(path);
  return applySplices(xml, [
    ...pointAt(xml, disk, now, "block", `'/dev/mapper/${annotation.mapping}'`),
    insertEntry(xml, domain, metadata, { dev, annotation, volume }),
  ]);
}

/**
 * The domain XML with the disk's volume in the place of its mapping, and without the entry; what `addMapping` made
 * comes back byte for byte. @throws DISK_NOT_FOUND, GUEST_CONFIG_INVALID
 */
export function removeMapping(xml: string, dev: string): string {
  const domain = parseDomain(xml);
  const metadata = readMappings(domain);
  const entry = metadata.entries.get(dev);
  if (entry === undefined)
    throw guestConfigInvalid(`nothing says what lies under the mapping of disk ${dev}`);
  const disk = diskNamed(domain, dev);
  const written = attributeSpan(xml, entry.element, "volume")?.value;
  const volume = written === undefined ? quoted(entry.volume) : xml.slice(written.start, written.end);
  return applySplices(xml, [
    ...pointAt(xml, disk, sourcePath(xml, dev, disk), entry.type, volume),
    removeEntry(xml, domain, metadata, entry),
  ]);
}

/** The domain XML without what the metadata say of this disk; its source stays. */
export function removeMappingEntry(xml: string, dev: string): string {
  const domain = parseDomain(xml);
  const metadata = readMappings(domain);
  const entry = metadata.entries.get(dev);
  return entry === undefined ? xml : applySplices(xml, [removeEntry(xml, domain, metadata, entry)]);
}
