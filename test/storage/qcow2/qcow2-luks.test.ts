import { readFileSync, statSync } from "node:fs";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { readQcow2Header } from "../../../src/storage/qcow2/qcow2-header.js";
import { createLuksByQemu } from "../../encryption/qemu-luks.js";
import { programRuns, TIMES } from "../../program-runs.js";
import { checkByQemu, guestSizeByQemu, qemuIo } from "../qemu.js";
import { codeOf, filesIn, type FileVolume, MIB, sha256, SPEC, Workshop } from "../workshop.js";

const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

describe("an encrypted qcow2 image", () => {
  let workshop: Workshop;
  let passphrase: Secret;

  beforeEach(() => {
    workshop = new Workshop("qcow2");
    passphrase = Secret.randomPassphrase();
  });
  afterEach(() => {
    passphrase.dispose();
    workshop[Symbol.dispose]();
  });

  const encrypt = (volume: FileVolume) =>
    workshop.backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });

  /** Has QEMU write to both ends, find it again, and count every cluster. */
  function expectSound(volume: FileVolume, size: number): void {
    const node = workshop.backend.qemuNode(volume, "key");
    expect(guestSizeByQemu(node, passphrase)).toBe(BigInt(size));
    const at = [0, Math.floor(size / 1024) * 512, size - 512];
    qemuIo(
      node,
      at.map((offset) => `write -P 0x33 ${offset} 512`),
      passphrase,
    );
    qemuIo(
      node,
      at.map((offset) => `read -P 0x33 ${offset} 512`),
      passphrase,
    );
    checkByQemu(node, passphrase);
  }

  it.each([
    ["compat=0.10", 8 * MIB],
    ["compat=1.1,lazy_refcounts=on", 8 * MIB],
    ["extended_l2=on,cluster_size=128k", 8 * MIB],
    ["compression_type=zstd", 8 * MIB],
    ["cluster_size=512", 8 * MIB],
    ["cluster_size=4k,refcount_bits=64", GIB],
    ["cluster_size=2M,refcount_bits=1", 64 * TIB],
    ["preallocation=metadata", 64 * MIB],
    ["preallocation=falloc", 8 * MIB],
  ])("made from one with %s keeps its options and is sound", async (options, size) => {
    const volume = workshop.makeEmpty("disk.img", size, options);
    const before = optionsOf(volume);
    await encrypt(volume);
    expect(optionsOf(volume)).toEqual(before);
    expectSound(volume, size);
  });

  it("is sound whatever the geometry", { timeout: 60_000 * TIMES }, async () => {
    const geometry = fc.record({
      clusterBits: fc.integer({ min: 9, max: 21 }),
      refcountBits: fc.constantFrom(1, 2, 4, 8, 16, 32),
      sectors: fc.integer({ min: 1, max: (16 * GIB) / 512 }),
    });
    await fc.assert(
      fc.asyncProperty(geometry, async ({ clusterBits, refcountBits, sectors }) => {
        // QEMU's table of an image with such small clusters has a limit
        const size = clusterBits < 12 ? (sectors % 65_536) * 512 + 512 : sectors * 512;
        const options = `cluster_size=${2 ** clusterBits},refcount_bits=${refcountBits}`;
        const volume = workshop.makeEmpty("disk.img", size, options);
        await encrypt(volume);
        expectSound(volume, size);
      }),
      programRuns(12),
    );
  });

  it("differs from qemu-img's own in its keys alone", async () => {
    const volume = workshop.makeEmpty("ours.img", MIB);
    await encrypt(volume);
    const theirs = `${workshop.directory}/theirs.img`;
    createLuksByQemu("qcow2", theirs);
    const [mine, other] = [volume.path, theirs].map((path) =>
      readQcow2Header(readFileSync(path).subarray(0, 65_536)),
    );
    const length = 2 * MIB;
    expect(mine).toEqual(
      other?.kind === "qcow2"
        ? { ...other, header: { ...other.header, encryption: { ...other.header.encryption, length } } }
        : "an image",
    );
  });

  it("is refused where the refcount table has no room for the header, and nothing changes", async () => {
    const volume = workshop.makeEmpty("disk.img", MIB, "cluster_size=512,refcount_bits=64");
    const before = sha256(volume.path);
    expect(await codeOf(encrypt(volume))).toBe("VOLUME_UNSUPPORTED");
    expect(sha256(volume.path)).toBe(before);
    expect(filesIn(workshop.directory)).toEqual(["disk.img"]);
  });

  it("takes no more room than its header needs", async () => {
    const volume = workshop.makeEmpty("disk.img", GIB);
    await encrypt(volume);
    expect(statSync(volume.path).blocks * 512).toBeLessThan(MIB);
  });
});

function optionsOf({ path }: FileVolume): unknown {
  const answer = readQcow2Header(readFileSync(path).subarray(0, 65_536));
  if (answer.kind !== "qcow2") throw new Error("no qcow2 image");
  const { version, size, clusterSize, refcountBits, lazyRefcounts, extendedL2, compression } = answer.header;
  return { version, size, clusterSize, refcountBits, lazyRefcounts, extendedL2, compression };
}
