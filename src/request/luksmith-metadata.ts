import type { DiskInfo } from "../disk-info/disk-info.js";
import { isMappingsNamespace } from "../guest-config/mapping-metadata.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import type { LuksmithError } from "../error/luksmith-error.js";
import type { Ask } from "./ask.js";
import { parseEnabled, parseFormat, requestInvalid } from "./ask-values.js";
import { holdsGuestData } from "./guest-data.js";

const NAMESPACE = "urn:luksmith:guest:1";
const SOURCE = "guest metadata (luksmith:encryption)";

/**
 * What the guest's own metadata asks for:
 *
 *     <luksmith:encryption xmlns:luksmith="urn:luksmith:guest:1"
 *         enabled="yes|no|by-rules" format="luks" profile="default" tags="finance eu">
 *       <luksmith:disk dev="vda"/>
 *     </luksmith:encryption>
 *
 * All attributes are optional. Without `enabled` it asks for encryption; `by-rules` leaves that to the operator's
 * rules, for a guest that only carries tags for them. With `disk` elements it speaks about those disks alone.
 * What is not understood is refused: a typo must not mean plaintext. @throws REQUEST_INVALID, GUEST_CONFIG_INVALID
 */
export function luksmithAsks(domain: XmlElement, disks: DiskInfo): Ask[] {
  const [element, another] = ourElements(domain);
  if (element === undefined) return [];
  if (another !== undefined) throw invalid("it is there twice");
  if (element.name !== "encryption" || element.namespace !== NAMESPACE)
    throw unknown("element", element.name);
  requireKnown(element, ["enabled", "format", "profile", "tags"], ["disk"]);
  const enabled = element.attribute("enabled") ?? "yes";
  const format = element.attribute("format");
  const profile = element.attribute("profile");
  const devs = element.elements("disk", NAMESPACE).map(devOf);
  const ask: Ask = {
    source: SOURCE,
    enabled: enabled === "by-rules" ? undefined : parseEnabled(`${SOURCE}: enabled`, enabled),
    ...(format === undefined ? {} : { format: parseFormat(`${SOURCE}: format`, format) }),
    ...(profile === undefined ? {} : { profile: parseProfile(profile) }),
    ...(devs.length === 0 ? {} : { disks: devs }),
  };
  requireDisks(ask, disks);
  return [ask];
}

/** The words that the guest carries for the operator's rules to match. */
export function luksmithTags(domain: XmlElement): readonly string[] {
  const tags = ourElements(domain).map((element) => element.attribute("tags") ?? "");
  return tags
    .join(" ")
    .split(/\s+/)
    .filter((tag) => tag !== "");
}

/** Any version of the namespace: one that this version does not know must not be passed over. Mappings ask nothing. */
function ourElements(domain: XmlElement): readonly XmlElement[] {
  const metadata = domain.elements("metadata").flatMap(({ children }) => children);
  return metadata.filter(
    ({ namespace }) => namespace.startsWith("urn:luksmith:") && !isMappingsNamespace(namespace),
  );
}

/** As the settings' schema has profile names. Whether there is such a profile is not known here. */
function parseProfile(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw invalid(`"${printable(name)}" is no name of a profile`);
}

function devOf(disk: XmlElement): string {
  requireKnown(disk, ["dev"], []);
  const dev = disk.attribute("dev");
  if (dev === undefined) throw invalid("a disk element has no attribute dev");
  return dev;
}

function requireKnown(element: XmlElement, attributes: readonly string[], children: readonly string[]): void {
  for (const name of element.attributes.keys()) {
    if (!attributes.includes(name)) throw unknown("attribute", name);
  }
  for (const { name, namespace } of element.children) {
    if (namespace !== NAMESPACE || !children.includes(name)) throw unknown("element", name);
  }
  if (element.text.trim() !== "") throw invalid("it has text, which means nothing");
}

/** What is asked for by name must be possible; what nobody can encrypt is passed over only where nobody named it. */
function requireDisks({ disks = [], enabled }: Ask, { mapping }: DiskInfo): void {
  for (const dev of disks) {
    const disk = Object.hasOwn(mapping, dev) ? mapping[dev] : undefined;
    if (disk === undefined) throw invalid(`it names disk "${printable(dev)}", which the guest does not have`);
    if (enabled !== false && !holdsGuestData(disk)) {
      throw invalid(`it names disk ${dev}, which is a CD-ROM, a floppy, read-only or empty`);
    }
  }
}

function unknown(kind: "attribute" | "element", name: string): LuksmithError {
  return invalid(`it has the ${kind} ${printable(name)}, which this version does not know`);
}

function invalid(why: string): LuksmithError {
  return requestInvalid(`${SOURCE} cannot be understood`, why);
}
