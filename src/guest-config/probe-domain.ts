import { parseDomain } from "./domain.js";
import { PROBE_NAMESPACE } from "./probe-metadata.js";
import { quoted } from "./quoted.js";

export interface Probe {
  readonly name: string;
  readonly uuid: string;
  /** The domain XML of the guest that it asks for. */
  readonly guestXml: string;
}

/**
 * A domain that is never started and has nothing but the question, in its metadata. Every host that can run the guest
 * can define it. @throws GUEST_CONFIG_INVALID if `guestXml` is none of a domain
 */
export function probeDomainXml({ name, uuid, guestXml }: Probe): string {
  const domain = parseDomain(guestXml);
  const arch = domain.element("os")?.element("type")?.attribute("arch");
  return `<domain type=${quoted(domain.attribute("type") ?? "kvm")}>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <metadata><luksmith:guest xmlns:luksmith="${PROBE_NAMESPACE}">${asText(guestXml)}</luksmith:guest></metadata>
  <memory unit="MiB">1</memory>
  <os><type${arch === undefined ? "" : ` arch=${quoted(arch)}`}>hvm</type></os>
</domain>
`;
}

/** A carriage return would not come back as one, but as a line feed. */
function asText(xml: string): string {
  return xml.replace(/[&<>\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}
