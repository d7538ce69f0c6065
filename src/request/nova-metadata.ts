import { diskElements } from "../guest-config/domain.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import type { Ask } from "./ask.js";
import { parseEnabled, parseFormat, requestInvalid } from "./ask-values.js";

/** Versions 1.0 and 1.1 are known; a later one must not silently mean that nothing is asked. */
const NAMESPACE = /^http:\/\/openstack\.org\/xmlns\/libvirt\/nova\/1\.[0-9]+$/;

/** Names of the specification "Flavor and Image defined ephemeral storage encryption". */
const FLAVOR = { enabled: "hw:ephemeral_encryption", format: "hw:ephemeral_encryption_format" };
const IMAGE = { enabled: "hw_ephemeral_encryption", format: "hw_ephemeral_encryption_format" };
const IMAGE_SECRET = "hw_ephemeral_encryption_secret_uuid";

/**
 * What flavor and image ask for in the metadata that Nova writes into the domain XML: flavor first.
 * @throws REQUEST_INVALID, GUEST_CONFIG_INVALID
 */
export function novaAsks(domain: XmlElement): Ask[] {
  const metadata = domain.element("metadata")?.children ?? [];
  const instances = metadata.filter(
    ({ name, namespace }) => name === "instance" && NAMESPACE.test(namespace),
  );
  const disks = localDisks(domain);
  return instances
    .flatMap((instance) => [...flavorAsks(instance), ...imageAsks(instance)])
    .map((ask) => (disks === undefined ? ask : { ...ask, disks }));
}

function flavorAsks(instance: XmlElement): Ask[] {
  const { namespace } = instance;
  const flavor = instance.element("flavor", namespace);
  const specs = flavor?.element("extraSpecs", namespace)?.elements("extraSpec", namespace) ?? [];
  return asksOf(`flavor ${printable(flavor?.attribute("name") ?? "")}`.trim(), specs, FLAVOR);
}

function imageAsks(instance: XmlElement): Ask[] {
  const { namespace } = instance;
  const image = instance.element("image", namespace);
  const owner = `image ${printable(image?.attribute("uuid") ?? "")}`.trim();
  const properties = image?.element("properties", namespace)?.elements("property", namespace) ?? [];
  // the key of the image's own bytes, for whoever copied them to the disk; our disks get keys of their own
  const secret = valueOf(owner, properties, IMAGE_SECRET);
  if (secret !== undefined && parseKeyUuid(secret) === undefined) {
    throw requestInvalid(`${owner} (${IMAGE_SECRET}) is "${printable(secret)}"`, "it must be a UUID");
  }
  return asksOf(owner, properties, IMAGE);
}

function asksOf(owner: string, properties: readonly XmlElement[], names: typeof FLAVOR): Ask[] {
  const asks: Ask[] = [];
  const enabled = valueOf(owner, properties, names.enabled);
  if (enabled !== undefined) {
    const source = `${owner} (${names.enabled})`;
    asks.push({ source, enabled: parseEnabled(source, enabled) });
  }
  const format = valueOf(owner, properties, names.format);
  if (format !== undefined) {
    const source = `${owner} (${names.format})`;
    asks.push({ source, enabled: undefined, format: parseFormat(source, format) });
  }
  return asks;
}

function valueOf(owner: string, properties: readonly XmlElement[], name: string): string | undefined {
  const [first, second] = properties.filter((property) => property.attribute("name") === name);
  if (second === undefined) return first?.text.trim();
  throw requestInvalid(`${owner} has ${name} twice`, "which of them counts is not defined");
}

/**
 * The device names of the disks that flavor and image speak about, undefined for all: the specification is about
 * local disks. A volume that Cinder attached has the volume's UUID as its serial number, and Cinder encrypts it.
 */
function localDisks(domain: XmlElement): readonly string[] | undefined {
  const disks = [...diskElements(domain)];
  const local = disks.filter(
    ([, disk]) => parseKeyUuid(disk.element("serial")?.text.trim() ?? "") === undefined,
  );
  return local.length === disks.length ? undefined : local.map(([dev]) => dev);
}
