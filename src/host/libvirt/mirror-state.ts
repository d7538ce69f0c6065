import { diskElements, parseDomain } from "../../guest-config/domain.js";
import { guestFromDomainXml } from "../../guest-config/domain-guest.js";
import { readEncryption } from "../../guest-config/encryption-element.js";
import type { XmlElement } from "../../guest-config/xml-element.js";
import type { MirrorState } from "../disk-mirror.js";

/** Of the mark by which a guest tells that it is paused for us; it is in its live metadata, and ends with the guest. */
export const PAUSED_NAMESPACE = "urn:luksmith:paused:1";

/** What libvirt says of a domain and of a disk of it, all at one moment. */
export interface LiveDomain {
  /** `running`, `paused`, … as `virsh domstate` has it; undefined for one that does not run. */
  readonly state: string;
  readonly xml: string;
  /** What `virsh blockjob --info --raw` prints: empty without a job. */
  readonly job: string;
}

export function mirrorState({ xml, job }: LiveDomain, dev: string): MirrorState {
  const live = guestFromDomainXml(xml);
  const mirror = diskElements(parseDomain(xml)).get(dev)?.element("mirror");
  const type = /^ *type=(.*)$/m.exec(job)?.[1];
  if (mirror === undefined)
    return type === undefined ? { kind: "none", live } : { kind: "busy", live, with: type };
  if (mirror.attribute("job") !== "copy") return { kind: "busy", live, with: type ?? "a block job" };
  const to = sourceOf(mirror);
  // where libvirt gives it up already, or gives the guest the copy: it says so within milliseconds
  const isEnding = ["abort", "pivot"].includes(mirror.attribute("ready") ?? "");
  if (to === undefined || isEnding) return { kind: "busy", live, with: "a block copy that ends" };
  const secretUuid = readEncryption(dev, mirror)?.secretUuid;
  return {
    kind: mirror.attribute("ready") === "yes" ? "ready" : "copying",
    ...{ live, to, done: number(job, "cur"), total: number(job, "end") },
    ...(secretUuid && { secretUuid }),
  };
}

export function isMarked({ xml }: LiveDomain): boolean {
  // a configuration is parsed for what is in it
  return xml.includes(PAUSED_NAMESPACE) && markIn(parseDomain(xml)) !== undefined;
}

function markIn(domain: XmlElement): XmlElement | undefined {
  const elements = domain.elements("metadata").flatMap(({ children }) => children);
  return elements.find(({ namespace }) => namespace === PAUSED_NAMESPACE);
}

function sourceOf(mirror: XmlElement): string | undefined {
  const source = mirror.element("source");
  return source?.attribute("file") ?? source?.attribute("dev");
}

function number(job: string, name: string): bigint {
  return BigInt(new RegExp(`^ *${name}=([0-9]+)$`, "m").exec(job)?.[1] ?? 0);
}
