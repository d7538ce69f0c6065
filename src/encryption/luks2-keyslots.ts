import type { LuksKeyslot } from "./luks-header.js";
import { isNullCipher, KEY_LENGTHS, LEAST_ITERATIONS, MOST_ITERATIONS, STRIPES } from "./luks-field.js";
import { type JsonObject, UnusableMetadata } from "./luks2-json.js";

const SECTOR = 512;
/**
 * Of Argon2. cryptsetup opens what takes 4 GiB and four billion passes, and never makes by itself what takes more than
 * 1 GiB, of which it does some passes in the two seconds that it aims at.
 */
const MOST = { memoryKib: 1024 * 1024, passes: 64, threads: 4 };

/** Numbers of keyslots, tokens and digests. */
export const SLOT = /^(?:[0-9]|[12][0-9]|3[01])$/;
export const HASH = /^[a-z0-9-]+$/;
export const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
export const NAME = /^[a-z0-9-]{1,64}$/;
const CIPHER = /^[a-z0-9_]+-[a-z0-9]+(?:-[a-z0-9:]+)?$/;

/** A keyslot of LUKS2, for whatever key. */
export interface Keyslot extends Pick<LuksKeyslot, "iterations" | "offset"> {
  /** Bytes of its area, of which the key material may be a part. */
  readonly length: number;
  readonly keyBytes: number;
}

/** @throws UnusableMetadata */
export function readKeyslots(
  keyslots: JsonObject,
  room: { readonly start: number; readonly end: number },
): ReadonlyMap<string, Keyslot> {
  const found = new Map<string, Keyslot>();
  for (const id of keyslots.names) {
    if (!SLOT.test(id)) throw keyslots.unusable(id);
    const keyslot = readKeyslot(keyslots.object(id), id);
    const { offset, length } = keyslot;
    if (offset < room.start) throw new UnusableMetadata(`has keyslot ${id} over itself`);
    if (offset + length > room.end)
      throw new UnusableMetadata(`has keyslot ${id} behind the room for keyslots`);
    for (const [other, { offset: start, length: size }] of found) {
      if (offset < start + size && start < offset + length)
        throw new UnusableMetadata(`has keyslots ${other} and ${id} over each other`);
    }
    found.set(id, keyslot);
  }
  return found;
}

function readKeyslot(keyslot: JsonObject, id: string): Keyslot {
  if (keyslot.text("type", NAME) !== "luks2")
    throw new UnusableMetadata(`has keyslot ${id} for a re-encryption`);
  const keyBytes = keyslot.integer("key_size", 1, 512);
  const splitter = keyslot.object("af");
  splitter.text("type", /^luks1$/);
  splitter.text("hash", HASH);
  splitter.integer("stripes", STRIPES, STRIPES);
  const area = keyslot.object("area");
  area.text("type", /^raw$/);
  readCipher(area);
  if (!KEY_LENGTHS.includes(area.integer("key_size", 1, 64))) throw area.unusable("key_size");
  const offset = area.bytes("offset");
  const length = area.bytes("size");
  if (length < Math.ceil((keyBytes * STRIPES) / SECTOR) * SECTOR) throw area.unusable("size");
  return { iterations: readKdf(keyslot.object("kdf")), offset, length, keyBytes };
}

/** How a passphrase becomes a key; cryptsetup takes out what does not belong there. */
function readKdf(kdf: JsonObject): number {
  kdf.text("salt", BASE64);
  if (kdf.text("type", NAME) === "pbkdf2") {
    kdf.text("hash", HASH);
    if (kdf.names.length !== 4) throw kdf.unusable("members");
    return kdf.cost("iterations", LEAST_ITERATIONS, MOST_ITERATIONS);
  }
  kdf.text("type", /^argon2id?$/);
  kdf.cost("memory", 32, MOST.memoryKib);
  kdf.cost("cpus", 1, MOST.threads);
  if (kdf.names.length !== 5) throw kdf.unusable("members");
  return kdf.cost("time", 1, MOST.passes);
}

/** What encrypts a segment, or a keyslot's key material. @throws UnusableMetadata */
export function readCipher(owner: JsonObject): string {
  const cipher = owner.text("encryption", CIPHER);
  if (isNullCipher(cipher)) throw new UnusableMetadata("names a cipher that does not encrypt");
  return cipher;
}
