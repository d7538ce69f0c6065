import type { Disk } from "./guest.js";
import { age, counted, moment, size } from "./words.js";

export type Fact = readonly [name: string, value: string];

/** What was known of a disk at a time, in the order in which it is shown; what is not known is left out. */
export function factsOf(disk: Disk, takenAt: string | undefined): Fact[] {
  const facts: [string, string | undefined][] = [
    ["Volume", disk.volume],
    ["Size", disk.guestSize === undefined ? undefined : size(disk.guestSize)],
    ["Format", disk.format],
    ["Cipher", cipherOf(disk)],
    ["Opened by", openerOf(disk)],
    ["Keystore", disk.keystore],
    ["Key", disk.key],
    ["Key age", keyAge(disk, takenAt)],
    ["From the cache", disk.cachedAt && `the keystore does not answer; copy of ${moment(disk.cachedAt)}`],
    ["Keyslots", disk.keyslots?.toString()],
    ["Opens without keystore", disk.recovery?.map((way) => RECOVERY[way]).join(", ")],
    ["Header copy", disk.headerCopyAt && moment(disk.headerCopyAt)],
    ["Last drill", disk.lastDrill && `${disk.lastDrill.result}, ${moment(disk.lastDrill.at)}`],
    ["Asked for by", disk.askedBy.join(", ")],
    ["Copy of", disk.copyOf && `${disk.copyOf}: one key opens both`],
    ["Same volume key as", disk.sameVolumeKey?.join(", ")],
  ];
  return facts.flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [[name, value] as const],
  );
}

function cipherOf({ cipher, keySize }: Disk): string | undefined {
  return cipher === undefined || keySize === undefined ? cipher : `${cipher}, ${counted(keySize, "bit")}`;
}

function openerOf({ openedBy, mapping }: Disk): string | undefined {
  if (openedBy === undefined) return undefined;
  if (openedBy === "native") return "QEMU";
  return mapping === undefined ? "dm-crypt" : `dm-crypt, as ${mapping}`;
}

/** Of its passphrase: since the last rotation, or since the key was made. */
function keyAge({ keyCreatedAt, keyRotatedAt }: Disk, takenAt: string | undefined): string | undefined {
  const since = keyRotatedAt ?? keyCreatedAt;
  if (since === undefined || takenAt === undefined) return undefined;
  const then = age(since, new Date(takenAt));
  return keyRotatedAt === undefined ? then : `${then} since its rotation`;
}

const RECOVERY = { passphrase: "with its recovery passphrase", recipients: "by its recipients" };
