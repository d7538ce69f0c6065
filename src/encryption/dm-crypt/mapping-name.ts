import { basename } from "node:path";
import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import type { PathVolume } from "../../storage/volume.js";

/** The kernel takes names of at most 127 characters (DM_NAME_LEN less its end). */
const LONGEST = 127;
const PREFIX = "luksmith-";

/**
 * The name in /dev/mapper of a volume that is opened with this key: `luksmith-VOLUME-UUID`. The volume is there for
 * people, by its last name and cut where it is long; the UUID tells which key opens it, and keeps two volumes of one
 * name apart.
 */
export function mappingName({ path }: PathVolume, uuid: KeyUuid): string {
  const end = `-${uuid}`;
  const name = basename(path).replaceAll(/[^A-Za-z0-9+_.-]/g, "_");
  return `${PREFIX}${name.slice(0, LONGEST - PREFIX.length - end.length)}${end}`;
}

/** The name that OpenStack Nova gives to a logical volume that it has opened as plain dm-crypt. */
export function legacyMappingName({ path }: PathVolume): string {
  return `${basename(path)}-dmcrypt`;
}

/** The key of a mapping of ours, by its name alone; undefined for any other name, and for a legacy one. */
export function keyOfMapping(name: string): KeyUuid | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  return parseKeyUuid(name.slice(-36));
}

/**
 * Whether a name is of the shape of those that are given above: no path, no option, nobody else's. It comes from a
 * guest's configuration, and becomes a part of paths.
 */
export function isMappingName(name: string): boolean {
  return (
    name.length <= LONGEST &&
    /^(?:luksmith-[A-Za-z0-9+_.-]+|[A-Za-z0-9+_][A-Za-z0-9+_.-]*-dmcrypt)$/.test(name)
  );
}
