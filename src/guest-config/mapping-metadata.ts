import { isMappingName, keyOfMapping } from "../encryption/dm-crypt/mapping-name.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { printable } from "../error/printable.js";
import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import { quoted } from "./quoted.js";
import type { XmlElement } from "./xml-element.js";

export const MAPPINGS_NAMESPACE = "urn:luksmith:mappings:1";

/**
 * What lies under a disk that names a mapping, as the guest's metadata have it:
 *
 *     <luksmith:mappings xmlns:luksmith="urn:luksmith:mappings:1">
 *       <luksmith:mapping dev="vda" name="luksmith-vm1-UUID" type="block" volume="/dev/vg/vm1" format="luks" secret="UUID"/>
 *     </luksmith:mappings>
 */
export interface MappingEntry {
  readonly element: XmlElement;
  readonly dev: string;
  /** In /dev/mapper. */
  readonly name: string;
  readonly type: "block" | "file";
  /** As the disk had it in its source. */
  readonly volume: string;
  readonly format: EncryptionFormat;
  readonly secretUuid: KeyUuid;
}

export interface MappingMetadata {
  readonly container: XmlElement | undefined;
  /** By device name; only those that can be understood. */
  readonly entries: ReadonlyMap<string, MappingEntry>;
  /** Why something in it cannot be understood. */
  readonly problems: readonly string[];
}

/**
 * Never throws: libvirt takes any metadata, and a guest whose metadata are broken must still be stopped. What cannot
 * be understood is left out, and is a problem for whoever starts the guest.
 */
export function readMappings(domain: XmlElement): MappingMetadata {
  const elements = domain.elements("metadata").flatMap(({ children }) => children);
  const unknown = elements.filter(({ namespace }) => isOtherVersion(namespace));
  const problems = unknown.map(
    ({ namespace }) => `its namespace is ${printable(namespace)}, which this version does not know`,
  );
  const [container, another] = elements.filter(({ namespace }) => namespace === MAPPINGS_NAMESPACE);
  if (container === undefined) return { container, entries: new Map(), problems };
  const isOdd = container.name !== "mappings";
  if (isOdd) problems.push(`it is called ${printable(container.name)}`);
  if (another !== undefined) problems.push("it is there twice");
  if (isOdd || another !== undefined) return { container, entries: new Map(), problems };
  const entries = new Map<string, MappingEntry>();
  const twice = new Set<string>();
  for (const child of container.children) {
    const entry = readEntry(child);
    if (typeof entry === "string") problems.push(entry);
    else if (entries.has(entry.dev)) twice.add(entry.dev);
    else entries.set(entry.dev, entry);
  }
  for (const dev of twice) {
    // which of them counts?
    entries.delete(dev);
    problems.push(`it has more than one mapping for disk ${dev}`);
  }
  return { container, entries, problems };
}

/** Whether the namespace is one of ours that speaks about mappings, of whatever version. */
export function isMappingsNamespace(namespace: string): boolean {
  return namespace.startsWith("urn:luksmith:mappings:");
}

function isOtherVersion(namespace: string): boolean {
  return isMappingsNamespace(namespace) && namespace !== MAPPINGS_NAMESPACE;
}

const FORMATS = ["plain", "luks", "luksv2"] as const satisfies readonly EncryptionFormat[];

/** An entry, or why it is none. */
function readEntry(element: XmlElement): MappingEntry | string {
  const {
    dev,
    name,
    type,
    volume,
    format: written,
    secret,
    ...rest
  } = Object.fromEntries(element.attributes);
  if (element.name !== "mapping" || element.namespace !== MAPPINGS_NAMESPACE)
    return `it has the element ${printable(element.name)}, which this version does not know`;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    return `it has the attribute ${printable(unknown)}, which this version does not know`;
  if (dev === undefined || !/^[a-z0-9_]{1,40}$/i.test(dev)) return "a mapping in it names no disk";
  const of = `the mapping of disk ${dev}`;
  if (name === undefined || !isMappingName(name)) return `${of} has no usable name`;
  if (type !== "block" && type !== "file") return `${of} is neither over a block device nor over a file`;
  if (volume === undefined) return `${of} names no volume`;
  const format = FORMATS.find((known) => known === written);
  if (format === undefined) return `${of} has no known format`;
  const secretUuid = secret === undefined ? undefined : parseKeyUuid(secret);
  if (secretUuid === undefined) return `${of} names no key`;
  if (!isNameFor(name, format, secretUuid))
    return `${of} has the name ${name}, which no mapping of key ${secretUuid} in format ${format} has`;
  return { element, dev, name, type, volume, format, secretUuid };
}

/** By its name alone, a mapping of Nova's could pass for one with a header, and one key's for another's. */
function isNameFor(name: string, format: EncryptionFormat, secretUuid: KeyUuid): boolean {
  return format === "plain" ? name.endsWith("-dmcrypt") : keyOfMapping(name) === secretUuid;
}

/** The element for `virsh metadata`, which puts it into our namespace. */
export function mappingsElement(entries: readonly MappingEntry[]): string {
  const mappings = entries.map(
    ({ dev, name, type, volume, format, secretUuid }) =>
      `<mapping dev=${quoted(dev)} name=${quoted(name)} type=${quoted(type)} volume=${quoted(volume)}` +
      ` format=${quoted(format)} secret=${quoted(secretUuid)}/>`,
  );
  return `<mappings>${mappings.join("")}</mappings>`;
}
