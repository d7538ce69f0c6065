import { LuksmithError } from "../error/luksmith-error.js";
import { diskElements } from "../guest-config/domain.js";
import { readEncryption } from "../guest-config/encryption-element.js";
import { mappedDisk } from "../guest-config/mapped-disk.js";
import { readMappings } from "../guest-config/mapping-metadata.js";
import type { XmlElement } from "../guest-config/xml-element.js";

export const MAPPINGS_SOURCE = "guest metadata (luksmith:mappings)";

/**
 * Why a guest must not be started with its mappings as they are. Not thrown where they are read: the guest may run
 * with them, and must still be stopped.
 */
export function mappingProblems(domain: XmlElement): LuksmithError[] {
  const metadata = readMappings(domain);
  const broken = metadata.problems.map(
    (why) =>
      new LuksmithError("GUEST_CONFIG_INVALID", {
        what: `${MAPPINGS_SOURCE} cannot be understood`,
        why,
        hint: "correct it with virsh edit",
      }),
  );
  const disks = [...diskElements(domain)].flatMap(([dev, disk]): LuksmithError[] => {
    const mapped = mappedDisk(dev, disk, metadata);
    switch (mapped?.kind) {
      case undefined:
        return [];
      case "orphan":
        return [withoutEntry(dev, mapped)];
      case "known":
        return readEncryption(dev, disk) === undefined ? [] : [twofold(dev, mapped.name)];
    }
  });
  return [...broken, ...disks];
}

function withoutEntry(dev: string, { name, uuid }: { name: string; uuid: string }): LuksmithError {
  return new LuksmithError("GUEST_CONFIG_INVALID", {
    what: `disk ${dev} is mapping ${name}, and nothing tells which volume lies under it`,
    why: `${MAPPINGS_SOURCE} has no entry for this disk and this mapping`,
    hint: `with virsh edit, let the disk name its volume again (luksmith keys show ${uuid} tells it), then run luksmith protect`,
  });
}

function twofold(dev: string, name: string): LuksmithError {
  return new LuksmithError("GUEST_CONFIG_INVALID", {
    what: `disk ${dev} has an encryption block over mapping ${name}, which decrypts it already`,
    hint: "take the encryption block out with virsh edit",
  });
}
