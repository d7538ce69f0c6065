import type { Luks2Header } from "./luks-header.js";
import { KEY_LENGTHS, LEAST_ITERATIONS, MOST_ITERATIONS, STRIPES } from "./luks-field.js";
import { JsonObject, UnusableMetadata } from "./luks2-json.js";
import { BASE64, HASH, type Keyslot, NAME, readCipher, readKeyslots, SLOT } from "./luks2-keyslots.js";

type Metadata = Omit<Luks2Header, "version" | "uuid" | "copySize">;

const SECTOR = 512;
const BINARY = 4096;
const MOST_KEYSLOT_BYTES = 128 * 1024 * 1024;

/**
 * Reads the JSON area of one copy of a LUKS2 header (LUKS2 On-Disk Format Specification 1.1.1, "LUKS2 JSON metadata"):
 * a container with one encrypted segment up to its end, and at least one keyslot for it. What holds more than that, a
 * re-encryption under way for instance, is refused, and so is what cryptsetup would refuse or mend.
 * @returns it, or how it is unusable, to be read behind "the LUKS header"
 */
export function readLuks2Metadata(area: Buffer, copySize: number): Metadata | string {
  try {
    return readMetadata(JsonObject.parse(area), copySize);
  } catch (thrown) {
    if (thrown instanceof UnusableMetadata) return thrown.message;
    throw thrown;
  }
}

function readMetadata(metadata: JsonObject, copySize: number): Metadata {
  const keyslotsEnd = readConfig(metadata.object("config"), copySize);
  const { payloadOffset, sectorSize, cipher, id } = readSegment(metadata.object("segments"));
  if (payloadOffset < keyslotsEnd) throw new UnusableMetadata("lies over the payload");
  const all = readKeyslots(metadata.object("keyslots"), { start: 2 * copySize, end: keyslotsEnd });
  refuseMissingKeyslots(metadata.object("tokens"), all);
  const { hash, members } = readDigests(metadata.object("digests"), id, all);

  const keyslots = members.map((slot) => all.get(slot)).filter((keyslot) => keyslot !== undefined);
  const keyBytes = keyslots[0]?.keyBytes;
  if (keyBytes === undefined) throw new UnusableMetadata("has no keyslot, so no passphrase opens it");
  if (!KEY_LENGTHS.includes(keyBytes) || keyslots.some((keyslot) => keyslot.keyBytes !== keyBytes))
    throw new UnusableMetadata(`has a volume key of an impossible length`);
  return {
    ...{ cipher, hash, keySize: keyBytes * 8, payloadOffset, sectorSize },
    keyslots: keyslots.map(({ iterations, offset }) => ({
      active: true,
      iterations,
      offset,
      stripes: STRIPES,
    })),
  };
}

/** @returns where the room for keyslots ends */
function readConfig(config: JsonObject, copySize: number): number {
  if (config.bytes("json_size") !== copySize - BINARY) throw config.unusable("json_size");
  const size = config.bytes("keyslots_size");
  if (size % BINARY !== 0 || size > MOST_KEYSLOT_BYTES) throw config.unusable("keyslots_size");
  // these only make it faster, or let discards through, and cryptsetup ignores those that it does not know
  if (config.has("flags")) config.texts("flags");
  if (config.has("requirements")) {
    const requirements = config.object("requirements");
    if (requirements.has("mandatory")) refuseAll(requirements.texts("mandatory"), "requires");
  }
  return 2 * copySize + size;
}

/** What is written there must not be ignored, and is not known here. */
function refuseAll(words: readonly string[], verb: string): void {
  const [word] = words;
  if (word === undefined) return;
  throw new UnusableMetadata(`${verb} ${NAME.test(word) ? word : "something"}, which is not supported`);
}

function readSegment(segments: JsonObject) {
  const [id, ...more] = segments.names;
  if (id === undefined || more.length > 0 || id !== "0")
    throw new UnusableMetadata("describes more than one encrypted segment, or none");
  const segment = segments.object(id);
  if (segment.text("type", NAME) !== "crypt")
    throw new UnusableMetadata("describes no segment of dm-crypt's");
  if (segment.text("size", /^[a-z0-9]+$/) !== "dynamic")
    throw new UnusableMetadata("describes a segment that ends before the volume does");
  if (segment.has("integrity")) throw new UnusableMetadata("requires integrity, which is not supported");
  if (segment.has("flags")) refuseAll(segment.texts("flags"), "has the flag");
  segment.bytes("iv_tweak");
  const cipher = readCipher(segment);
  const payloadOffset = segment.bytes("offset");
  if (payloadOffset === 0 || payloadOffset % SECTOR !== 0) throw segment.unusable("offset");
  const sectorSize = segment.integer("sector_size", SECTOR, 4096);
  if (![512, 1024, 2048, 4096].includes(sectorSize)) throw segment.unusable("sector_size");
  return { id, cipher, payloadOffset, sectorSize };
}

function refuseMissingKeyslots(tokens: JsonObject, all: ReadonlyMap<string, Keyslot>): void {
  for (const id of tokens.names) {
    if (!SLOT.test(id)) throw tokens.unusable(id);
    const token = tokens.object(id);
    token.text("type", /^/);
    if (!token.texts("keyslots").every((slot) => all.has(slot))) throw token.unusable("keyslots");
  }
}

/** What tells the volume key of the segment, and the keyslots that hold it; the others hold keys for nothing. */
function readDigests(digests: JsonObject, segment: string, all: ReadonlyMap<string, Keyslot>) {
  const counted: string[] = [];
  const ours: { readonly hash: string; readonly members: readonly string[] }[] = [];
  for (const id of digests.names) {
    if (!SLOT.test(id)) throw digests.unusable(id);
    const digest = digests.object(id);
    digest.text("type", /^pbkdf2$/);
    digest.text("salt", BASE64);
    digest.text("digest", BASE64);
    digest.cost("iterations", LEAST_ITERATIONS, MOST_ITERATIONS);
    const hash = digest.text("hash", HASH);
    const members = digest.texts("keyslots");
    if (!members.every((slot) => all.has(slot))) throw digest.unusable("keyslots");
    counted.push(...members);
    const segments = digest.texts("segments");
    if (segments.some((name) => name !== segment)) throw digest.unusable("segments");
    if (segments.length > 0) ours.push({ hash, members });
  }
  const [digest, ...more] = ours;
  if (digest === undefined || more.length > 0)
    throw new UnusableMetadata("has not one digest for its volume key");
  if (counted.length !== all.size || new Set(counted).size !== all.size)
    throw new UnusableMetadata("has a keyslot without a digest, or with two");
  return digest;
}
