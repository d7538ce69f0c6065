import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  type LuksHeader,
  readLuksHeader,
} from "../../src/encryption/luks-header.js";
import { createLuksByQemu } from "./qemu-luks.js";

const FORMATS = ["luks", "luksv2"] as const;
const UUID = "11111111-2222-4333-8444-555555555555";
let directory: string;
let header: Buffer;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-luks-"));
  header = formatted("--type", "luks1", "--uuid", UUID);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("readLuksHeader", () => {
  it("reads what cryptsetup writes", () => {
    const { keyslots, ...rest } = accepted(header);
    expect(rest).toEqual({
      ...{ version: 1, uuid: UUID, cipher: "aes-xts-plain64", hash: "sha256" },
      ...{ keySize: 512, payloadOffset: 2_097_152 },
    });
    expect(keyslots[0]).toEqual({ active: true, iterations: 1000, offset: 4096, stripes: 4000 });
    expect(keyslots.map(({ active }) => active)).toEqual([true, ...Array<boolean>(7).fill(false)]);
    expect(keyslots[1]?.offset).toBe(4096 + 258_048);
  });

  it.each([
    ["aes-cbc-essiv:sha256", 256, "sha1"],
    ["aes-xts-plain64", 256, "sha512"],
    ["aes-cbc-plain64", 128, "sha384"],
  ])("reads cryptsetup's %s with %i bits and %s", (cipher, keySize, hash) => {
    const bytes = formatted(
      "--type",
      "luks1",
      "--cipher",
      cipher,
      "--key-size",
      String(keySize),
      "--hash",
      hash,
    );
    expect(accepted(bytes)).toMatchObject({ cipher, keySize, hash });
  });

  it("reads what qemu-img writes, with a payload that begins elsewhere", () => {
    const path = join(directory, "qemu.luks");
    createLuksByQemu("luks", path);
    const { payloadOffset, keyslots, cipher, hash } = accepted(
      readFileSync(path).subarray(0, LUKS_HEADER_BLOCK),
    );
    expect({ payloadOffset, cipher, hash }).toEqual({
      ...{ payloadOffset: 2_068_480, cipher: "aes-xts-plain64", hash: "sha256" },
    });
    expect(keyslots[0]).toMatchObject({ active: true, offset: 4096, stripes: 4000 });
  });

  it("finds no header in anything without the magic", () => {
    for (const bytes of ["", "LUKS", "LUKS\xba\xbf", "\0".repeat(4096), "SKUL\xba\xbe\0\x01"]) {
      expect(readLuksHeader(Buffer.from(bytes, "latin1"), FORMATS)).toEqual({ kind: "none" });
    }
  });

  it("says who opens LUKS2 where storage cannot carry it", () => {
    const bytes = formatted("--type", "luks2", "--pbkdf", "pbkdf2");
    expect(readLuksHeader(bytes, ["luks"])).toMatchObject({
      kind: "bad",
      reason: expect.stringMatching(/version 2: only dm-crypt/) as string,
    });
  });

  it("refuses a cipher that encrypts nothing", () => {
    const bytes = Buffer.from(header);
    bytes.write("cipher_null\0".padEnd(32, "\0"), 8, "latin1");
    bytes.write("ecb\0".padEnd(32, "\0"), 40, "latin1");
    expect(readLuksHeader(bytes, FORMATS)).toMatchObject({
      kind: "bad",
      reason: expect.stringContaining("does not encrypt") as string,
    });
  });

  it("refuses a header that is cut off, wherever", () => {
    for (let length = 6; length < 592; length++) {
      expect(readLuksHeader(header.subarray(0, length), FORMATS), String(length)).toMatchObject({
        kind: "bad",
      });
    }
    expect(accepted(header.subarray(0, 592)).uuid).toBe(UUID);
  });

  it.each([
    ["a version that there is none of", 6, "0000"],
    ["an empty cipher", 8, "00"],
    ["a cipher without end", 8, "61".repeat(32)],
    ["a cipher mode that is no word", 40, "2f2f"],
    ["a hash of control characters", 72, "0a0a"],
    ["a detached payload", 104, "00000000"],
    ["a payload within the keyslots", 104, "00000100"],
    ["a volume key without bits", 108, "00000000"],
    ["a volume key of 2 GiB", 108, "7fffffff"],
    ["a volume key that nobody uses", 108, "00000011"],
    ["a digest without iterations", 164, "00000000"],
    ["a digest of endless iterations", 164, "ffffffff"],
    ["a digest of one iteration too many", 164, "02faf081"],
    ["a UUID that is none", 168, "7a"],
    ["a UUID that is cut off", 180, "00"],
    ["a keyslot in no state", 208, "00000001"],
    ["an active keyslot without iterations", 212, "00000000"],
    ["an active keyslot that QEMU would refuse", 212, "000003e7"],
    ["an active keyslot of endless iterations", 212, "ffffffff"],
    ["an active keyslot of one iteration too many", 212, "02faf081"],
    ["a keyslot over the header", 248, "00000001"],
    ["a keyslot over the payload", 248, "00000fff"],
    ["a keyslot behind all payloads", 248, "ffffffff"],
    ["a keyslot over another", 248, "00000200"],
    ["a keyslot of no stripes", 252, "00000000"],
    ["no active keyslot", 208, "0000dead"],
  ])("refuses %s", (_, offset, hex) => {
    const bytes = Buffer.from(header);
    bytes.write(hex, offset, "hex");
    expect(readLuksHeader(bytes, FORMATS)).toMatchObject({ kind: "bad" });
  });

  it("takes what a person's passphrase may need, and whatever an unused keyslot has", () => {
    const bytes = Buffer.from(header);
    for (const [offset, iterations] of [
      [164, 50_000_000],
      [212, 50_000_000],
      [260, 0xffff_ffff],
    ] as const)
      bytes.writeUInt32BE(iterations, offset);
    expect(accepted(bytes).keyslots[0]?.iterations).toBe(50_000_000);
  });

  it("never throws, whatever it is given", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 700 }),
        fc.constantFrom("", "LUKS\xba\xbe", "LUKS\xba\xbe\0\x01"),
        (tail, head) => {
          readLuksHeader(Buffer.concat([Buffer.from(head, "latin1"), tail]), FORMATS);
        },
      ),
    );
  });

  it("accepts no damaged header whose keyslots or payload lie where they cannot", () => {
    const damage = fc.array(fc.tuple(fc.nat(591), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = Buffer.from(header);
        for (const [offset, value] of changes) bytes[offset] = value;
        const answer = readLuksHeader(bytes, FORMATS);
        if (answer.kind !== "luks") return;
        const { keyslots, keySize, payloadOffset } = answer.header;
        const ends = keyslots.map(({ offset, stripes }) => offset + (keySize / 8) * stripes);
        expect(Math.max(...ends)).toBeLessThanOrEqual(payloadOffset);
        expect(Math.min(...keyslots.map(({ offset }) => offset))).toBeGreaterThanOrEqual(592);
        expect(keyslots.some(({ active }) => active)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("claimedLuksUuid", () => {
  it("tells whose header it is from its first sector alone", () => {
    expect(claimedLuksUuid(header.subarray(0, 512))).toBe(UUID);
    expect(claimedLuksUuid(header.subarray(0, 511))).toBeUndefined();
  });

  it("says nothing of what is no LUKS header", () => {
    expect(claimedLuksUuid(Buffer.alloc(4096))).toBeUndefined();
  });
});

/** The header block that cryptsetup writes with `options`. */
function formatted(...options: string[]): Buffer {
  const path = join(directory, "cryptsetup.img");
  writeFileSync(path, "");
  truncateSync(path, 32 * 1024 * 1024);
  const chosen = { "--cipher": "aes-xts-plain64", "--key-size": "512", "--hash": "sha256" };
  const defaults = Object.entries(chosen).flatMap(([name, value]) =>
    options.includes(name) ? [] : [name, value],
  );
  const args = ["luksFormat", "-q", "--pbkdf-force-iterations", "1000", ...defaults, ...options, path, "-"];
  execFileSync("cryptsetup", args, { input: "a passphrase" });
  return readFileSync(path).subarray(0, LUKS_HEADER_BLOCK);
}

function accepted(bytes: Buffer): LuksHeader {
  const answer = readLuksHeader(bytes, FORMATS);
  if (answer.kind !== "luks") throw new Error(answer.kind === "bad" ? answer.reason : "no LUKS magic");
  return answer.header;
}
