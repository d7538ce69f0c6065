import { integer, required, structure } from "./fields.js";
import { TAG } from "./tags.js";
import type { Item } from "./ttlv.js";

/** The versions of the protocol that we speak, the one we like best first. */
export const VERSIONS = ["1.4", "2.0", "1.3", "1.2", "1.1"] as const;
export type Version = (typeof VERSIONS)[number];

/** KMIP 2.0 has other structures for attributes than all versions before. */
export function isVersion2(version: Version): boolean {
  return version.startsWith("2.");
}

export function versionItem(version: Version): Item {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return structure(
    TAG.ProtocolVersion,
    integer(TAG.ProtocolVersionMajor, major),
    integer(TAG.ProtocolVersionMinor, minor),
  );
}

/** `1.4`, whatever the server says. @throws TtlvError */
export function versionText(version: readonly Item[]): string {
  const major = required(version, TAG.ProtocolVersionMajor, "integer");
  return `${major}.${required(version, TAG.ProtocolVersionMinor, "integer")}`;
}
