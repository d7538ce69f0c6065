import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ifThere } from "../fs/if-there.js";
import { deviceNumber } from "../storage/volume-file.js";

/** How dm-crypt's mappings begin their UUIDs; dm-verity and dm-integrity are CRYPT- too, and encrypt nothing. */
const ENCRYPTED = /^CRYPT-(?:LUKS|PLAIN|LOOPAES|TCRYPT|BITLK|FVAULT)/;

/**
 * Whether dm-crypt of this host lies under a block device, or under the file system of anything else: all that is
 * written there is encrypted below. False also where nobody can tell: ZFS, Btrfs, network file systems, what is absent.
 */
export function liesOnDmCrypt(path: string): boolean {
  const stats = ifThere(() => statSync(path, { bigint: true }));
  if (stats === undefined) return false;
  const number = deviceNumber(stats.isBlockDevice() ? stats : { rdev: stats.dev });
  const directory = ifThere(() => realpathSync(`/sys/dev/block/${number}`));
  return directory !== undefined && encrypts(directory);
}

/** @param device its directory in /sys */
function encrypts(device: string): boolean {
  const uuid = ifThere(() => readFileSync(join(device, "dm/uuid"), "utf8"));
  if (uuid !== undefined && ENCRYPTED.test(uuid)) return true;
  const backing = ifThere(() => readFileSync(join(device, "loop/backing_file"), "utf8").trimEnd());
  if (backing !== undefined) return liesOnDmCrypt(backing);
  if (ifThere(() => statSync(join(device, "partition"))) !== undefined) return encrypts(dirname(device));
  const below = ifThere(() => readdirSync(join(device, "slaves"))) ?? [];
  return below.length > 0 && below.every((name) => encrypts(realpathSync(join(device, "slaves", name))));
}
