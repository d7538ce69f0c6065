import { createCipheriv, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { findProgress } from "../../../src/convert/in-place/find-progress.js";
import { writeHeader, zeroTail } from "../../../src/convert/in-place/finish-move.js";
import { type Progress, startOf, UNIT } from "../../../src/convert/in-place/geometry.js";
import { beginMove, movePayload } from "../../../src/convert/in-place/move-payload.js";
import type { MovedVolume } from "../../../src/convert/in-place/moved-volume.js";
import { SectorCipher } from "../../../src/convert/in-place/sector-cipher.js";
import { type ConversionTo, Signposts } from "../../../src/convert/in-place/signpost.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";

const GAP = 2 * 1024 * 1024;
const SECTOR = 512;

/** A disk in memory that loses any part of what it was not told to keep when its power goes. */
class CrashingDisk implements MovedVolume {
  readonly name = "disk";
  calls = 0;
  #kept: Buffer;
  #seen: Buffer;
  /** Sectors that were written since the last flush. */
  readonly #unsynced = new Set<number>();

  constructor(
    bytes: Buffer,
    /** At which call its power goes: a write is torn then. */
    private readonly cutAt: number,
    private readonly random: () => number,
  ) {
    this.#kept = Buffer.from(bytes);
    this.#seen = Buffer.from(bytes);
  }

  get size(): number {
    return this.#seen.length;
  }

  read(offset: number, length: number): Promise<Buffer> {
    return Promise.resolve(Buffer.from(this.#seen.subarray(offset, offset + length)));
  }

  write(offset: number, bytes: Buffer): Promise<void> {
    bytes.copy(this.#seen, offset);
    for (let at = Math.floor(offset / SECTOR); at < (offset + bytes.length) / SECTOR; at++)
      this.#unsynced.add(at);
    return this.#survive();
  }

  async flush(): Promise<void> {
    await this.#survive();
    for (const sector of this.#unsynced) this.#keep(sector);
    this.#unsynced.clear();
  }

  /** What a boot finds: of what was not flushed, any sectors. */
  afterPowerCut(): Buffer {
    const share = this.random();
    for (const sector of this.#unsynced) if (this.random() < share) this.#keep(sector);
    return this.#kept;
  }

  #keep(sector: number): void {
    this.#seen.copy(this.#kept, sector * SECTOR, sector * SECTOR, (sector + 1) * SECTOR);
  }

  #survive(): Promise<void> {
    this.calls++;
    return this.calls === this.cutAt ? Promise.reject(new PowerCut()) : Promise.resolve();
  }
}

class PowerCut extends Error {}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

const uuid = newKeyUuid();
const passphrase = Secret.randomPassphrase();
const HEADER = Buffer.alloc(GAP);
randomBytes(260_000).copy(HEADER);
HEADER.write("HEADER");

/** One call of the conversion, as it is run again and again; `volumeKey` is known to the first alone. */
async function convert(
  disk: CrashingDisk,
  to: ConversionTo,
  payload: number,
  volumeKey: Buffer,
): Promise<void> {
  await disk.flush();
  const found = await findProgress(disk, { uuid, passphrase });
  const hasHeader = (await disk.read(0, 6)).toString("latin1") === "HEADER";
  if (found === undefined && hasHeader === (to === "encrypted")) return;
  const signposts = found?.signposts ?? Signposts.seal(uuid, passphrase, Secret.own(Buffer.from(volumeKey)));
  const progress: Progress = found?.progress ?? { to, payload, mark: startOf(to, payload) };
  if (found === undefined) await beginMove(progress, { volume: disk, signposts });
  const end = await movePayload(progress, { volume: disk, signposts });
  if (to === "encrypted") await writeHeader(disk, end, HEADER, () => Promise.resolve());
  else await zeroTail(disk, end);
}

/** @returns the bytes of the guest's disk, encrypted independently of what is tested */
function encrypted(plain: Buffer, key: Buffer): Buffer {
  const sectors = [];
  for (let at = 0; at < plain.length; at += SECTOR) {
    const iv = Buffer.alloc(16);
    iv.writeUInt32LE(at / SECTOR);
    const cipher = createCipheriv(key.length === 64 ? "aes-256-xts" : "aes-128-xts", key, iv);
    sectors.push(cipher.update(plain.subarray(at, at + SECTOR)));
  }
  return Buffer.concat(sectors);
}

interface World {
  readonly plain: Buffer;
  readonly key: Buffer;
  readonly before: Buffer;
  readonly after: Buffer;
}

function world(to: ConversionTo, payload: number): World {
  const [plain, key] = [randomBytes(payload), randomBytes(64)];
  const asLuks = Buffer.concat([HEADER, encrypted(plain, key)]);
  const asPlain = Buffer.concat([plain, Buffer.alloc(GAP)]);
  return to === "encrypted"
    ? { plain, key, before: asPlain, after: asLuks }
    : { plain, key, before: asLuks, after: asPlain };
}

describe.each(["encrypted", "plain"] as const)("a conversion in place to %s", (to) => {
  it.each([
    SECTOR,
    3 * SECTOR,
    UNIT - SECTOR,
    UNIT,
    UNIT + SECTOR,
    GAP - SECTOR,
    GAP,
    GAP + SECTOR,
    5 * UNIT,
    9 * UNIT + 7 * SECTOR,
  ])("moves every byte of a disk of %i bytes", async (payload) => {
    const { key, before, after } = world(to, payload);
    const disk = new CrashingDisk(before, Infinity, Math.random);
    await convert(disk, to, payload, key);
    expect((await disk.read(0, disk.size)).equals(after)).toBe(true);
  });

  // of the longer one the calls in its middle are alike
  it.each([
    [UNIT + SECTOR, 1],
    [6 * UNIT + 7 * SECTOR, 3],
  ])(
    "of %i bytes loses none of them, whatever a power cut at any call leaves of the last writes",
    { timeout: 300_000 },
    async (payload, stride) => {
      const { key, before, after } = world(to, payload);
      const whole = new CrashingDisk(before, Infinity, Math.random);
      await convert(whole, to, payload, key);
      for (let cutAt = 1; cutAt <= whole.calls; cutAt += stride) {
        const random = randomOf(1000 * cutAt);
        let bytes = before;
        // the boots after it are cut short as well
        for (let boot = 0, next = cutAt; ; boot++, next = 1 + Math.floor(random() * whole.calls)) {
          const disk = new CrashingDisk(bytes, boot < 3 ? next : Infinity, random);
          try {
            await convert(disk, to, payload, key);
            bytes = await disk.read(0, disk.size);
            break;
          } catch (thrown) {
            if (!(thrown instanceof PowerCut)) throw thrown;
            bytes = disk.afterPowerCut();
          }
        }
        expect(bytes.equals(after), `cut at call ${cutAt}`).toBe(true);
      }
    },
  );
});

describe("SectorCipher", () => {
  it.each([32, 64])("encrypts and decrypts as OpenSSL's own XTS, with a key of %i bytes", (length) => {
    const [plain, key] = [randomBytes(4096 * SECTOR), randomBytes(length)];
    const cipher = new SectorCipher(Secret.own(Buffer.from(key)));
    const from = 4000;
    const part = plain.subarray(from * SECTOR);
    const expected = encrypted(plain, key).subarray(from * SECTOR);
    expect(cipher.encrypt(part, from).equals(expected)).toBe(true);
    expect(cipher.decrypt(expected, from).equals(part)).toBe(true);
  });
});
