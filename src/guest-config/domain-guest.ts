import { diskInfoFromDomain } from "../disk-info/from-domain-xml.js";
import type { Guest } from "../host/host-adapter.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { asksOfDomain } from "../request/domain-asks.js";
import { luksmithTags } from "../request/luksmith-metadata.js";
import { parseDomain } from "./domain.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "./xml-element.js";

/** The guest that a libvirt domain XML defines. @throws GUEST_CONFIG_INVALID */
export function guestFromDomainXml(xml: string): Guest {
  const domain = parseDomain(xml);
  const disks = diskInfoFromDomain(domain);
  return {
    id: idOf(domain),
    name: nameOf(domain),
    disks,
    asks: asksOfDomain(domain, disks),
    tags: luksmithTags(domain),
    configuration: xml,
  };
}

/** Lower case, so that one domain is one id however its UUID is written. */
function idOf(domain: XmlElement): string {
  const text = domain.element("uuid")?.text.trim();
  if (text === undefined) throw guestConfigInvalid("the domain has no UUID");
  const uuid = parseKeyUuid(text);
  if (uuid === undefined) throw guestConfigInvalid(`the domain's UUID "${printable(text)}" is none`);
  return uuid;
}

function nameOf(domain: XmlElement): string {
  const name = domain.element("name")?.text ?? "";
  // libvirt takes every character but the line feed
  if (name !== "" && !name.includes("\n")) return name;
  throw guestConfigInvalid(`the domain has no usable name: "${printable(name)}"`);
}
