import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";

/** Where the kernel shows every block device under `MAJOR:MINOR`. */
const DEVICES = "/sys/dev/block";

/** What its place below /sys/devices says of a disk: who else the storage may show it to, the kernel does not know. */
const BY_PLACE: readonly (readonly [RegExp, string])[] = [
  [/\/session[0-9]+\//, "iSCSI"],
  [/\/rport-[0-9]/, "Fibre Channel"],
  [/\/block\/drbd[0-9]/, "DRBD"],
  [/\/block\/rbd[0-9]/, "RBD"],
];

/** A device's transport (nvme fabrics); PCIe is a disk of this host. */
const FABRICS = new Set(["tcp", "rdma", "fc"]);

/**
 * How a device, or one that it is made of, reaches storage that other hosts may have too; undefined for what is this
 * host's alone as far as the kernel can tell. Starts no process.
 * @param number `MAJOR:MINOR`
 */
export function reachedByOthers(number: string, devices = DEVICES): string | undefined {
  const device = join(devices, number);
  if (textOf(join(device, "dm/uuid"))?.startsWith("mpath-") === true) return "multipath";
  const place = ifThere(() => realpathSync(device)) ?? device;
  const [, name] = BY_PLACE.find(([pattern]) => pattern.test(`${place}/`)) ?? [];
  if (name !== undefined) return name;
  // a partition is a directory within its disk's
  for (const at of [place, join(place, "..")]) {
    const transport = textOf(join(at, "device/transport"));
    if (transport !== undefined && FABRICS.has(transport)) return "NVMe over fabrics";
  }
  for (const slave of ifThere(() => readdirSync(join(device, "slaves"))) ?? []) {
    const below = textOf(join(device, "slaves", slave, "dev"));
    const answer = below === undefined ? undefined : reachedByOthers(below, devices);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function textOf(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "utf8").trim());
}
