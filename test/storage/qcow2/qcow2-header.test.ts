import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  QCOW2_HEADER_AREA,
  type Qcow2Header,
  type Qcow2HeaderAnswer,
  readQcow2Header,
} from "../../../src/storage/qcow2/qcow2-header.js";
import { createLuksByQemu } from "../../encryption/qemu-luks.js";
import { MIB, Workshop } from "../workshop.js";

let workshop: Workshop;
let plain: Buffer;

beforeAll(() => {
  workshop = new Workshop("qcow2");
  plain = created("compat=1.1");
});
afterAll(() => workshop[Symbol.dispose]());

describe("readQcow2Header", () => {
  it("reads what qemu-img creates", () => {
    expect(accepted(plain)).toEqual({
      ...{ version: 3, size: 8 * MIB, clusterSize: 65_536, refcountBits: 16 },
      ...{ extensions: { offset: 112, end: 504 }, l1Table: { offset: 196_608, entries: 1 } },
      ...{
        refcountTable: { offset: 65_536, clusters: 1 },
        lazyRefcounts: false,
        extendedL2: false,
        compression: "zlib",
      },
      ...{ encryption: { kind: "none" }, backing: undefined, snapshots: 0 },
      ...{ persistentBitmaps: false, externalDataFile: false },
    });
  });

  it.each<[string, Partial<Qcow2Header>]>([
    ["compat=0.10", { version: 2, refcountBits: 16, extensions: { offset: 72, end: 72 } }],
    ["cluster_size=512", { clusterSize: 512 }],
    ["cluster_size=2M", { clusterSize: 2 * MIB }],
    ["refcount_bits=1", { refcountBits: 1 }],
    ["refcount_bits=64", { refcountBits: 64 }],
    ["lazy_refcounts=on", { lazyRefcounts: true }],
    ["extended_l2=on", { extendedL2: true }],
    ["compression_type=zstd", { compression: "zstd" }],
  ])("reads %s", (options, expected) => {
    expect(accepted(created(options))).toMatchObject(expected);
  });

  it("finds the LUKS header that qemu-img put into an image", () => {
    const path = `${workshop.directory}/encrypted.img`;
    createLuksByQemu("qcow2", path);
    const { encryption } = accepted(readFileSync(path));
    expect(encryption).toEqual({ kind: "luks", offset: 262_144, length: 2_068_480 });
  });

  it("knows no header without the magic", () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from("QFI"), Buffer.alloc(512), Buffer.from("QFI\xfa...")]) {
      expect(readQcow2Header(bytes)).toEqual({ kind: "none" });
    }
  });

  it.each([
    ["a version that there is none of", 4, "00000004"],
    ["clusters of 256 bytes", 20, "00000008"],
    ["clusters of 4 MiB", 20, "00000016"],
    ["a size beyond all numbers", 24, "ffffffffffffffff"],
    ["an encryption that is not known", 32, "00000003"],
    ["LUKS without a header", 32, "00000002"],
    ["a mark of corruption", 72, "0000000000000002"],
    ["features that are not known", 72, "8000000000000000"],
    ["refcounts of 128 bits", 96, "00000007"],
    ["a header that is too short", 100, "00000048"],
    ["a header longer than all", 100, "fffffff8"],
    ["an extension longer than the cluster", 116, "0000ffff"],
  ])("refuses %s", (_, offset, hex) => {
    expect(readQcow2Header(changed(plain, offset, hex))).toMatchObject({ kind: "bad" });
  });

  it("refuses a header that is cut off, wherever", () => {
    for (let length = 4; length < 112; length++) {
      expect(readQcow2Header(plain.subarray(0, length)), String(length)).toMatchObject({ kind: "bad" });
    }
  });

  it("never throws, whatever it is given", () => {
    const damage = fc.array(fc.tuple(fc.nat(511), fc.nat(255)), { maxLength: 16 });
    fc.assert(
      fc.property(damage, fc.nat(1024), (changes, length) => {
        const bytes = Buffer.from(plain.subarray(0, length));
        for (const [offset, value] of changes) if (offset < length) bytes[offset] = value;
        const answer: Qcow2HeaderAnswer = readQcow2Header(bytes);
        expect(["qcow2", "none", "bad"]).toContain(answer.kind);
      }),
      { numRuns: 1000 },
    );
  });
});

function created(options: string): Buffer {
  const { path } = workshop.makeEmpty("plain.img", 8 * MIB, options);
  return readFileSync(path).subarray(0, QCOW2_HEADER_AREA);
}

function changed(bytes: Buffer, offset: number, hex: string): Buffer {
  const copy = Buffer.from(bytes);
  copy.write(hex, offset, "hex");
  return copy;
}

function accepted(bytes: Buffer): Qcow2Header {
  const answer = readQcow2Header(bytes);
  if (answer.kind !== "qcow2") throw new Error(answer.kind === "bad" ? answer.reason : "no qcow2 magic");
  return answer.header;
}
