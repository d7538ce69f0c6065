import type { DiskInfo } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import type { Ask } from "./ask.js";
import { luksmithAsks } from "./luksmith-metadata.js";
import { MAPPINGS_SOURCE, mappingProblems } from "./mapping-problems.js";
import { novaAsks } from "./nova-metadata.js";

/** Who asks for encryption in a domain XML, in the order of rank: flavor, image, the guest's own metadata. */
export function asksOfDomain(domain: XmlElement, disks: DiskInfo): readonly Ask[] {
  return [
    ...understood("Nova's metadata", () => novaAsks(domain)),
    ...understood("guest metadata", () => luksmithAsks(domain, disks)),
    ...mappingProblems(domain).map((problem) => ({ source: MAPPINGS_SOURCE, enabled: undefined, problem })),
  ];
}

function understood(source: string, read: () => readonly Ask[]): readonly Ask[] {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    return [{ source, enabled: undefined, problem: thrown }];
  }
}
