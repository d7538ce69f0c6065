import { lstatSync, statSync } from "node:fs";
import { asLuksmithError } from "../error/luksmith-error.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import type { Key } from "../keystore/keystore.js";
import type { StorageRegistry } from "../storage/index.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import { parseRbdName } from "../storage/volume-name.js";

/** What the volume of a key record says about the key today. */
export type KeyVolume =
  /** Its LUKS header has the key's UUID, or the passphrase opens it. */
  | { readonly kind: "uses-key"; readonly why: string }
  /** It is there, and needs this key no more: all of it is zero, or it is encrypted under another one. */
  | { readonly kind: "free" }
  /** It holds data without a LUKS header: perhaps encrypted, and a backup of the header that was there needs the key. */
  | { readonly kind: "data" }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly reason: string };

/**
 * Looks at the volume that a key was made for, whatever image format it has by now. Never throws for what the volume is
 * or is not, and never writes.
 */
export async function probeKeyVolume(
  { record, passphrase }: Key,
  storage: StorageRegistry,
): Promise<KeyVolume> {
  const readings = readingsOf(record.volume);
  if (readings.length === 0)
    return { kind: "unreadable", reason: "its name is of no storage that is known here" };
  const answers: KeyVolume[] = [];
  for (const volume of readings) {
    try {
      const backend = await storage.backendFor(volume);
      answers.push(await look(backend, volume, { record, passphrase }));
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      answers.push({ kind: "unreadable", reason: error.why ?? error.message });
    }
  }
  return worst(answers);
}

/**
 * What a record's volume may be, of which it has the name alone: a file whose image format is not known can be either,
 * and one of both readings is nothing but data. None for storage that is not known here.
 */
export function readingsOf(name: string): Volume[] {
  const image = parseRbdName(name);
  if (image !== undefined) return [image];
  if (!name.startsWith("/")) return [];
  const isDevice = name.startsWith("/dev/") || isBlockDevice(name);
  if (isDevice) return [{ kind: "block", path: name, format: "raw" }];
  return (["raw", "qcow2"] as const).map((format) => ({ kind: "file", path: name, format }));
}

function isBlockDevice(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined && statIfThere(path);
}

function statIfThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false;
}

async function look(
  backend: StorageBackend,
  volume: Volume,
  { record, passphrase }: Key,
): Promise<KeyVolume> {
  // read: a header that was overwritten with zeros has the encrypted data behind it
  const probe = await backend.probe(volume, "read");
  switch (probe.kind) {
    case "luks":
      if (parseKeyUuid(probe.header.uuid) === record.uuid) {
        return { kind: "uses-key", why: "its LUKS header has the key's UUID" };
      }
      return await openedBy(backend, volume, passphrase);
    case "bad-luks":
      return probe.claimedUuid === record.uuid
        ? { kind: "uses-key", why: `its damaged LUKS header has the key's UUID (${probe.reason})` }
        : { kind: "unreadable", reason: probe.reason };
    case "empty":
      return { kind: "free" };
    case "allocated":
    case "data":
      return { kind: "data" };
    case "absent":
      return { kind: "absent" };
    case "unreadable":
      return { kind: "unreadable", reason: probe.reason };
  }
}

async function openedBy(
  backend: StorageBackend,
  volume: Volume,
  passphrase: Key["passphrase"],
): Promise<KeyVolume> {
  try {
    await backend.testPassphrase(volume, passphrase);
    return { kind: "uses-key", why: "the passphrase opens it" };
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    if (error.code === "PASSPHRASE_REJECTED") return { kind: "free" };
    return { kind: "unreadable", reason: error.why ?? error.message };
  }
}

/** What forbids most, but `data`, which is what the wrong one of two readings of a file says. */
function worst(answers: readonly KeyVolume[]): KeyVolume {
  for (const kind of ["uses-key", "unreadable", "free", "data"] as const) {
    const answer = answers.find((candidate) => candidate.kind === kind);
    if (answer !== undefined) return answer;
  }
  return { kind: "absent" };
}
