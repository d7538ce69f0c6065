import { LuksmithError } from "../error/luksmith-error.js";
import type { EncryptionBlock } from "../host/host-adapter.js";
import { insertBlock, removeBlock } from "./block-place.js";
import { diskNamed, parseDomain } from "./domain.js";
import { type EncryptionElement, readEncryption } from "./encryption-element.js";
import { printable } from "../error/printable.js";
import { applySplices } from "./splice.js";
import type { XmlElement } from "./xml-element.js";

/** By device name. */
type Blocks = ReadonlyMap<string, EncryptionBlock>;

/**
 * The domain XML with an encryption block in the `<source>` of each of these disks, last in it; every other byte
 * stays. A disk that has this very block already stays as it is, also if it stands beside the `<source>`.
 * @throws DISK_NOT_FOUND, VOLUME_UNSUPPORTED for a drive without a source, ENCRYPTION_BLOCK_FOREIGN for a disk that
 *   has another block, GUEST_CONFIG_INVALID
 */
export function addEncryptionBlocks(xml: string, blocks: Blocks): string {
  const splices = subjectsOf(xml, blocks).flatMap(({ dev, disk, block, existing }) => {
    return existing === undefined ? insertBlock(xml, disk, sourceOf(dev, disk), block) : [];
  });
  return applySplices(xml, splices);
}

/**
 * The domain XML without these encryption blocks; what `addEncryptionBlocks` made comes back byte for byte. A disk
 * without a block stays as it is.
 * @throws DISK_NOT_FOUND, ENCRYPTION_BLOCK_FOREIGN for a disk that has another block, GUEST_CONFIG_INVALID
 */
export function removeEncryptionBlocks(xml: string, blocks: Blocks): string {
  const splices = subjectsOf(xml, blocks).flatMap(({ disk, existing }) => {
    return existing === undefined ? [] : removeBlock(xml, disk, existing.element);
  });
  return applySplices(xml, splices);
}

interface Subject {
  readonly dev: string;
  readonly disk: XmlElement;
  readonly block: EncryptionBlock;
  /** `block`, if the disk has it already. */
  readonly existing: EncryptionElement | undefined;
}

function subjectsOf(xml: string, blocks: Blocks): Subject[] {
  const domain = parseDomain(xml);
  return [...blocks].map(([dev, block]) => {
    const disk = diskNamed(domain, dev);
    const existing = readEncryption(dev, disk);
    if (existing !== undefined && !isSameBlock(existing, block)) throw foreignBlock(dev, existing);
    return { dev, disk, block, existing };
  });
}

export function isSameBlock(
  { format, secretUuid, options }: EncryptionElement,
  block: EncryptionBlock,
): boolean {
  const engine = options["engine"] ?? "qemu";
  return format === block.format && secretUuid === block.secretUuid && engine === (block.engine ?? "qemu");
}

export function foreignBlock(dev: string, { format, secretUuid }: EncryptionElement): LuksmithError {
  return new LuksmithError("ENCRYPTION_BLOCK_FOREIGN", {
    what: `disk ${dev} has an encryption block that is not the one in question`,
    why: `it has format ${printable(format)} and ${secretUuid === undefined ? "no secret UUID" : `secret UUID ${secretUuid}`}`,
  });
}

function sourceOf(dev: string, disk: XmlElement): XmlElement {
  const source = disk.element("source");
  if (source !== undefined) return source;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `disk ${dev} cannot have an encryption block`,
    why: "it has no source",
  });
}
