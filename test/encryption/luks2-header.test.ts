import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  type Luks2Header,
  type LuksHeaderAnswer,
  luksHeaderLength,
  readLuksHeader,
} from "../../src/encryption/luks-header.js";
import { cryptsetupReads } from "../storage/cryptsetup.js";

const UUID = "11111111-2222-4333-8444-555555555555";
const MIB = 1024 * 1024;
const COPY = 16 * 1024;
let directory: string;
/** Both copies of the header that cryptsetup made. */
let container: Buffer;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-luks2-"));
  container = formatted("--uuid", UUID, "--offset", "4096", "--sector-size", "512").subarray(0, 2 * COPY);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a LUKS2 header", () => {
  it("is read as cryptsetup wrote it", () => {
    expect(accepted(container)).toEqual({
      ...{ version: 2, uuid: UUID, cipher: "aes-xts-plain64", hash: "sha256", keySize: 512 },
      ...{ payloadOffset: 2 * MIB, copySize: COPY, sectorSize: 512 },
      keyslots: [{ active: true, iterations: 1000, offset: 2 * COPY, stripes: 4000 }],
    });
  });

  it("is read with larger copies, larger sectors, Argon2, a label and a token", () => {
    const path = join(directory, "rich.img");
    formattedAt(path, ...["--luks2-metadata-size", "64k", "--sector-size", "4096", "--label", "a disk"]);
    cryptsetup(
      "luksAddKey",
      ...["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4"],
      ...["--pbkdf-memory", "64"],
      path,
    );
    cryptsetup("token", "add", "--key-description", "a key", path);
    const header = accepted(readFileSync(path));
    expect(header).toMatchObject({ copySize: 64 * 1024, sectorSize: 4096, payloadOffset: 16 * MIB });
    expect(header.keyslots.map(({ iterations }) => iterations)).toEqual([1000, 4]);
  });

  it("is read where flags make it faster, and without keyslots of keys for nothing", () => {
    const path = join(directory, "unbound.img");
    formattedAt(path);
    cryptsetup(
      "luksAddKey",
      ...["--unbound", "--key-size", "256"],
      ...["--pbkdf", "pbkdf2"],
      ...["--pbkdf-force-iterations", "1000"],
      path,
    );
    expect(accepted(readFileSync(path)).keyslots).toHaveLength(1);
    expect(accepted(withMetadata(["config.flags", ["allow-discards"]])).keyslots).toHaveLength(1);
  });

  it("is read where a person's passphrase is stretched for seconds", () => {
    expect(accepted(withMetadata(["keyslots.0.kdf", argon2])).keyslots[0]?.iterations).toBe(64);
    const most = 50_000_000;
    const pbkdf2 = withMetadata(["keyslots.0.kdf.iterations", most], ["digests.0.iterations", most]);
    expect(accepted(pbkdf2).keyslots[0]?.iterations).toBe(most);
  });

  it("needs no more than its two copies, whose length its first block says", () => {
    expect(luksHeaderLength(container.subarray(0, LUKS_HEADER_BLOCK))).toBe(2 * COPY);
    expect(accepted(container.subarray(0, 2 * COPY)).uuid).toBe(UUID);
    for (const size of [0n, 1n, 16_383n, 1n << 23n, 1n << 63n]) {
      const start = Buffer.from(container.subarray(0, LUKS_HEADER_BLOCK));
      start.writeBigUInt64BE(size, 8);
      expect(luksHeaderLength(start), String(size)).toBe(2 * COPY);
    }
  });

  it("claims its UUID in its first sector", () => {
    expect(claimedLuksUuid(container.subarray(0, 512))).toBe(UUID);
    expect(claimedLuksUuid(container.subarray(0, 511))).toBeUndefined();
  });

  it("is refused where it is cut off, wherever", () => {
    for (let length = 8; length < COPY; length += 97)
      expect(read(container.subarray(0, length)), String(length)).toMatchObject({ kind: "bad" });
  });
});

describe("a LUKS2 header of two copies", () => {
  it("is good without the second, which cryptsetup mends", () => {
    expect(accepted(damaged(COPY + 300)).uuid).toBe(UUID);
    expect(accepted(container.subarray(0, COPY)).uuid).toBe(UUID);
  });

  it.each([300, 5000, 8])("is bad without the first, damaged at byte %i, and names what mends it", (at) => {
    expect(read(damaged(at))).toMatchObject({
      kind: "bad",
      reason: expect.stringContaining("its second copy is whole: run cryptsetup repair") as string,
    });
  });

  it("is bad, without a promise, where both are damaged", () => {
    const bytes = damaged(300);
    bytes.writeUInt8(bytes.readUInt8(COPY + 300) ^ 1, COPY + 300);
    expect(reasonOf(bytes)).toBe("the LUKS header is damaged: its checksum is wrong");
  });

  it("is what the newer one says", () => {
    const bytes = withMetadata(["digests.0.hash", "sha512"]);
    expect(accepted(bytes).hash).toBe("sha512");
    bytes.writeBigUInt64BE(100n, COPY + 16);
    expect(accepted(sealed(bytes, COPY)).hash).toBe("sha256");
  });

  it("is bad where they are two headers", () => {
    const bytes = Buffer.from(container);
    bytes.write("2", COPY + 168);
    expect(reasonOf(sealed(bytes, COPY))).toContain("different UUIDs");
  });
});

type Json = Record<string, unknown>;

/** Dotted path and new value, in which the text `copy of PATH` stands for what is there; undefined takes it away. */
type Change = readonly [path: string, value: unknown];

/** What cryptsetup makes by itself on a fast machine, and more of it. */
const argon2 = { type: "argon2id", time: 64, memory: 2 ** 20, cpus: 4, salt: "AA==" };

/** Everything that is whole and sealed, and says what cannot be, or what is not supported. */
const REFUSED: [name: string, reason: RegExp, ...changes: Change[]][] = [
  [
    "a re-encryption under way",
    /requires online-reencrypt/,
    ["config.requirements", { mandatory: ["online-reencrypt"] }],
  ],
  ["a requirement of the future", /requires something/, ["config.requirements", { mandatory: ["é\n"] }]],
  ["requirements that are none", /no usable metadata.config/, ["config.requirements", []]],
  ["data integrity", /requires integrity/, ["segments.0.integrity", { type: "aead" }]],
  ["a segment's flag", /flag backup-final/, ["segments.0.flags", ["backup-final"]]],
  ["a segment of another kind", /no segment of dm-crypt/, ["segments.0.type", "linear"]],
  ["a segment encrypted by the disk itself", /no segment of dm-crypt/, ["segments.0.type", "hw-opal-crypt"]],
  ["a segment that ends", /ends before the volume/, ["segments.0.size", "4096"]],
  ["two segments", /more than one/, ["segments.1", "copy of segments.0"]],
  ["no segment", /or none/, ["segments.0", undefined]],
  ["a cipher that encrypts nothing", /does not encrypt/, ["segments.0.encryption", "cipher_null-ecb"]],
  ["a keyslot that is not encrypted", /not encrypt/, ["keyslots.0.area.encryption", "cipher_null-ecb"]],
  ["a cipher that is no word", /segments\.0\.encryption/, ["segments.0.encryption", "aes xts"]],
  ["sectors of 3 KiB", /sector_size/, ["segments.0.sector_size", 3072]],
  ["a detached payload", /offset/, ["segments.0.offset", "0"]],
  ["a payload within a sector", /offset/, ["segments.0.offset", "2097153"]],
  ["a payload within the keyslots", /over the payload/, ["segments.0.offset", "1048576"]],
  ["a payload of exabytes away", /offset/, ["segments.0.offset", "9".repeat(19)]],
  ["an offset that is a number", /offset/, ["segments.0.offset", 2_097_152]],
  ["another size than its own", /json_size/, ["config.json_size", "28672"]],
  ["an odd room for keyslots", /keyslots_size/, ["config.keyslots_size", "1000"]],
  ["too much room for keyslots", /keyslots_size/, ["config.keyslots_size", "1073741824"]],
  ["no keyslot", /no keyslot/, ["keyslots", {}], ["digests.0.keyslots", []]],
  ["a keyslot over the header", /over itself/, ["keyslots.0.area.offset", "16384"]],
  ["a keyslot over the payload", /behind the room/, ["keyslots.0.area.offset", "2000000"]],
  ["a keyslot over another", /over each other/, ["keyslots.1", "copy of keyslots.0"]],
  ["a keyslot without room", /area\.size/, ["keyslots.0.area.size", "255488"]],
  ["a keyslot of a name", /no usable/, ["keyslots.first", "copy of keyslots.0"]],
  ["a keyslot of no stripes", /stripes/, ["keyslots.0.af.stripes", 1]],
  ["a keyslot for a re-encryption", /re-encryption/, ["keyslots.0.type", "reencrypt"]],
  ["few iterations", /iterations/, ["keyslots.0.kdf.iterations", 999]],
  ["endless iterations", /too much .*iterations: 4294967295/, ["keyslots.0.kdf.iterations", 2 ** 32 - 1]],
  ["one iteration too many", /50000000 is the most/, ["keyslots.0.kdf.iterations", 50_000_001]],
  ["a digest of endless iterations", /digests\.0\.iterations: 5/, ["digests.0.iterations", 50_000_001]],
  ["Argon2 of more than 1 GiB", /memory: 1048577/, ["keyslots.0.kdf", { ...argon2, memory: 2 ** 20 + 1 }]],
  ["Argon2 without end", /too much .*time: 65/, ["keyslots.0.kdf", { ...argon2, time: 65 }]],
  ["Argon2 on many processors", /too much .*cpus/, ["keyslots.0.kdf", { ...argon2, cpus: 5 }]],
  ["a kdf of an unknown kind", /kdf\.type/, ["keyslots.0.kdf.type", "scrypt"]],
  ["a kdf with more than belongs to it", /kdf\.members/, ["keyslots.0.kdf.more", 1]],
  ["a volume key that nobody uses", /impossible length/, ["keyslots.0.key_size", 17]],
  ["no digest", /not one digest/, ["digests", {}]],
  ["a digest of nothing", /not one digest/, ["digests.0.segments", []]],
  ["two digests", /not one digest/, ["digests.1", "copy of digests.0"]],
  ["a digest of a segment that is not there", /segments/, ["digests.0.segments", ["0", "1"]]],
  ["a digest of a keyslot that is not there", /keyslots/, ["digests.0.keyslots", ["0", "7"]]],
  [
    "a keyslot without a digest",
    /without a digest/,
    ["keyslots.1", "copy of keyslots.0"],
    ["keyslots.1.area.offset", "290816"],
  ],
  ["a token of a keyslot that is not there", /tokens\.0\.key/, ["tokens.0", { type: "x", keyslots: ["7"] }]],
  ["no tokens", /metadata\.tokens/, ["tokens", undefined]],
  ["a section that is none", /metadata\.segments/, ["segments", null]],
  ["names of JavaScript's", /metadata\.keyslots/, ["keyslots", { constructor: {} }]],
  ["nesting without end", /too deep/, ["tokens.0", { type: "x", keyslots: [], more: nested(40) }]],
];

describe("a LUKS2 header is refused that has", () => {
  it.each(REFUSED)("%s", (_, reason, ...changes) => {
    const bytes = withMetadata(...changes);
    // the second copy would make a difference to the text only
    bytes.fill(0, COPY, 2 * COPY);
    expect(reasonOf(bytes)).toMatch(/^the LUKS header /);
    expect(reasonOf(bytes)).toMatch(reason);
  });

  it.each([
    ["no JSON", "{", ""],
    ["an array", "[]", ""],
    ["a space before it", ' {"a":1}', ""],
    ["text behind it", '{"a":1}', "x"],
    ["bytes that are no text", '{"a":"\xff"}', ""],
  ])("%s", (_, text, behind) => {
    const bytes = Buffer.from(container);
    const area = bytes.subarray(LUKS_HEADER_BLOCK, COPY).fill(0);
    area.write(text, "latin1");
    area.write(behind, 5000);
    expect(read(sealed(bytes, 0))).toMatchObject({ kind: "bad" });
  });

  it.each([
    ["no UUID", 168, "zz"],
    ["a checksum of an unknown kind", 72, "crc32c"],
    ["a place that is not its own", 256, "\xff"],
  ])("%s", (_, at, text) => {
    const bytes = Buffer.from(container);
    bytes.write(text, at, "latin1");
    expect(read(sealed(bytes, 0))).toMatchObject({ kind: "bad" });
  });
});

describe("the reader of LUKS2", () => {
  it("never throws, whatever it is given", () => {
    const head = fc.constantFrom("LUKS\xba\xbe\0\x02", "LUKS\xba\xbe\0\x02\0\0\0\0\0\0\x40\0");
    fc.assert(
      fc.property(head, fc.uint8Array({ maxLength: 5000 }), (start, tail) => {
        expect(["bad", "none"]).toContain(read(Buffer.concat([Buffer.from(start, "latin1"), tail])).kind);
      }),
    );
  });

  it("never throws, whatever JSON is sealed in it", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (text) => {
        const bytes = Buffer.from(container);
        bytes.subarray(LUKS_HEADER_BLOCK, COPY).fill(0).write(text);
        expect(read(sealed(bytes, 0)).kind).toBe("bad");
      }),
      { numRuns: 200 },
    );
  });

  it("refuses every header of which a bit was changed on the way", () => {
    fc.assert(
      fc.property(fc.nat(COPY * 8 - 1), (bit) => {
        fc.pre(Math.floor(bit / 8) < 448 + 32 || Math.floor(bit / 8) >= 512);
        const bytes = Buffer.from(container.subarray(0, COPY));
        bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(read(bytes).kind).not.toBe("luks");
      }),
      { numRuns: 300 },
    );
  });

  it("accepts no changed metadata that cryptsetup would not read, or that puts things where they cannot be", () => {
    let taken = 0;
    const value = fc.oneof(
      fc.constantFrom<unknown>(
        "0",
        "1",
        "512",
        "4096",
        "32768",
        "262144",
        "2097152",
        "8388608",
        "dynamic",
        "",
      ),
      fc.constantFrom<unknown>(
        "sha512",
        "aes-cbc-essiv:sha256",
        "luks2",
        "crypt",
        "pbkdf2",
        "AAAA",
        null,
        true,
      ),
      fc.constantFrom<unknown>(
        0,
        1,
        16,
        32,
        64,
        512,
        1000,
        4000,
        4096,
        -1,
        1.5,
        2 ** 40,
        [],
        ["0"],
        ["1"],
        {},
      ),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(60), value), { minLength: 1, maxLength: 2 }), (changes) => {
        const bytes = withChanged((metadata) => {
          for (const [which, now] of changes) replaceOne(metadata, which, now);
        });
        bytes.fill(0, COPY, 2 * COPY);
        const answer = read(bytes);
        if (answer.kind !== "luks") return;
        taken++;
        const { keyslots, keySize, payloadOffset } = answer.header;
        for (const { offset, stripes } of keyslots) {
          expect(offset).toBeGreaterThanOrEqual(2 * COPY);
          expect(offset + (keySize / 8) * stripes).toBeLessThanOrEqual(payloadOffset);
        }
        expect(cryptsetupReads(bytes)).toBe(true);
      }),
      { numRuns: 600 },
    );
    expect(taken).toBeGreaterThan(20);
  });
});

function read(bytes: Buffer): LuksHeaderAnswer {
  return readLuksHeader(bytes, ["luks", "luksv2"]);
}

function accepted(bytes: Buffer): Luks2Header {
  const answer = read(bytes);
  if (answer.kind === "luks" && answer.header.version === 2) return answer.header;
  throw new Error(answer.kind === "bad" ? answer.reason : "no LUKS2 header");
}

function reasonOf(bytes: Buffer): string {
  const answer = read(bytes);
  return answer.kind === "bad" ? answer.reason : `it is ${answer.kind}`;
}

function damaged(at: number): Buffer {
  const bytes = Buffer.from(container);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes;
}

/** The header with other metadata in its first copy, and the checksum of these. */
function withMetadata(...changes: readonly Change[]): Buffer {
  return withChanged((metadata) => {
    for (const [path, value] of changes) {
      const [owner, name] = placeIn(metadata, path);
      const copied = typeof value === "string" ? /^copy of (.*)$/.exec(value)?.[1] : undefined;
      if (copied === undefined) owner[name] = value;
      else {
        const [source, from] = placeIn(metadata, copied);
        owner[name] = structuredClone(source[from]);
      }
    }
  });
}

function placeIn(metadata: Json, path: string): [Json, string] {
  const names = path.split(".");
  const last = names.pop() ?? "";
  return [names.reduce((owner, name) => owner[name] as Json, metadata), last];
}

function withChanged(change: (metadata: Json) => void): Buffer {
  const bytes = Buffer.from(container);
  const area = bytes.subarray(LUKS_HEADER_BLOCK, COPY);
  const metadata = JSON.parse(area.toString("utf8", 0, area.indexOf(0))) as Json;
  change(metadata);
  area.fill(0).write(JSON.stringify(metadata));
  return sealed(bytes, 0);
}

/** With the checksum that the copy at `at` must have. */
function sealed(bytes: Buffer, at: number): Buffer {
  const copy = bytes.subarray(at, at + COPY);
  copy.fill(0, 448, 512);
  createHash("sha256").update(copy).digest().copy(copy, 448);
  return bytes;
}

function nested(levels: number): unknown {
  return levels === 0 ? 1 : { in: nested(levels - 1) };
}

/** Replaces the n-th of all values, however deep they are. */
function replaceOne(metadata: Json, which: number, now: unknown): void {
  const places: [Json, string][] = [];
  const walk = (owner: Json) => {
    for (const [name, value] of Object.entries(owner)) {
      places.push([owner, name]);
      if (typeof value === "object" && value !== null) walk(value as Json);
    }
  };
  walk(metadata);
  const [owner, name] = places[which % places.length] ?? [];
  if (owner !== undefined && name !== undefined) owner[name] = now;
}

function formatted(...options: string[]): Buffer {
  const path = join(directory, "cryptsetup.img");
  formattedAt(path, ...options);
  return readFileSync(path);
}

function formattedAt(path: string, ...options: string[]): void {
  writeFileSync(path, "");
  truncateSync(path, 24 * MIB);
  const chosen = ["--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512", "--hash", "sha256"];
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  cryptsetup("luksFormat", ...chosen, ...kdf, ...options, path);
}

/** With a passphrase wherever it asks for one. */
function cryptsetup(...args: string[]): void {
  execFileSync("cryptsetup", ["-q", ...args], { input: "a passphrase\nanother\nanother\n", stdio: "pipe" });
}
