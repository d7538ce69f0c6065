import { LuksmithError } from "../error/luksmith-error.js";
import type { PathVolume } from "../storage/volume.js";
import { type AttributeSpan, attributeSpan } from "./attribute-span.js";
import { diskNamed, parseDomain } from "./domain.js";
import { quoted } from "./quoted.js";
import { applySplices, type Splice } from "./splice.js";
import type { XmlElement } from "./xml-element.js";

/** libvirt's type of a disk whose source is a path of this host. */
export type SourceType = PathVolume["kind"];

/** The path in a disk's source. */
export interface SourcePath {
  readonly type: SourceType;
  readonly path: string;
  readonly span: AttributeSpan;
}

const ATTRIBUTE = { file: "file", block: "dev" } as const satisfies Record<SourceType, string>;

/** @throws VOLUME_UNSUPPORTED for a disk that is no file or block device, or an empty drive */
export function sourcePath(xml: string, dev: string, disk: XmlElement): SourcePath {
  const type = disk.attribute("type") ?? "file";
  const source = disk.element("source");
  if (source !== undefined && (type === "file" || type === "block")) {
    const path = source.attribute(ATTRIBUTE[type]);
    const span = attributeSpan(xml, source, ATTRIBUTE[type]);
    if (path !== undefined && span !== undefined) return { type, path, span };
  }
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `disk ${dev} cannot be given another source`,
    why: "it has neither a file nor a block device",
  });
}

/** @param value of the path as XML has it, with its quotes */
export function pointAt(
  xml: string,
  disk: XmlElement,
  { span }: SourcePath,
  type: SourceType,
  value: string,
): Splice[] {
  return [
    typeSplice(xml, disk, type),
    { ...span.name, text: ATTRIBUTE[type] },
    { ...span.value, text: value },
  ];
}

/** The domain XML with the disk pointed at the volume; unchanged where it is. */
export function nameVolume(xml: string, dev: string, volume: PathVolume): string {
  const disk = diskNamed(parseDomain(xml), dev);
  const now = sourcePath(xml, dev, disk);
  if (now.type === volume.kind && now.path === volume.path) return xml;
  return applySplices(xml, pointAt(xml, disk, now, volume.kind, quoted(volume.path)));
}

function typeSplice(xml: string, disk: XmlElement, type: SourceType): Splice {
  const span = attributeSpan(xml, disk, "type")?.value;
  if (span !== undefined) return { start: span.start + 1, end: span.end - 1, text: type };
  // libvirt always prints it
  const at = disk.span.start + "<disk".length;
  return { start: at, end: at, text: ` type='${type}'` };
}
