import { parseDomain } from "./domain.js";
import type { XmlElement } from "./xml-element.js";

export const PROBE_NAMESPACE = "urn:luksmith:migrate-check:1";

/** What the names of probes begin with. */
export const PROBE_PREFIX = "luksmith-check-";

/**
 * The domain XML that a probe carries, which is that of the guest it asks for; undefined for every other domain. A probe
 * has our name, no disk, and our element once: a guest whose metadata hold such an element, whoever put it there, stays
 * a guest. @throws GUEST_CONFIG_INVALID
 */
export function probedXml(xml: string): string | undefined {
  // hooks see every guest: as a rule nothing is parsed twice
  if (!xml.includes(PROBE_NAMESPACE)) return undefined;
  const domain = parseDomain(xml);
  const [carrier, another] = domain
    .elements("metadata")
    .flatMap(({ children }) => children)
    .filter(({ namespace }) => namespace === PROBE_NAMESPACE);
  if (carrier?.name !== "guest" || another !== undefined || hasDisks(domain)) return undefined;
  const name = domain.element("name")?.text ?? "";
  return name.startsWith(PROBE_PREFIX) ? carrier.text : undefined;
}

function hasDisks(domain: XmlElement): boolean {
  return domain.elements("devices").some((devices) => devices.elements("disk").length > 0);
}
