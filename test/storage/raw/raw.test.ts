import { execFileSync } from "node:child_process";
import { closeSync, linkSync, openSync, readFileSync, statSync, truncateSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksFormatter } from "../../../src/encryption/luks-formatter.js";
import type { LuksHeader } from "../../../src/encryption/luks-header.js";
import type { LuksSpec } from "../../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { emptinessContract } from "../../contract/emptiness.contract.js";
import { imageFileContract } from "../../contract/image-file.contract.js";
import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { createLuksByQemu } from "../../encryption/qemu-luks.js";
import { cryptsetupOpens } from "../cryptsetup.js";
import {
  codeOf,
  filesIn,
  type FileVolume,
  guestSizeByQemu,
  makeImage,
  MIB,
  sha256,
  SPEC,
  Workshop,
} from "../workshop.js";

storageBackendContract("raw", () => new Workshop("raw"), {
  allocates: "allocates",
  formats: ["luks", "luksv2"],
});
imageFileContract("raw");
emptinessContract("raw", () => new Workshop("raw"));

describe("raw image files", () => {
  let workshop: Workshop;
  let volume: FileVolume;
  let request: FormatRequest;

  beforeEach(() => {
    workshop = new Workshop("raw");
    volume = workshop.makeEmpty("disk.img");
    request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
  });
  afterEach(() => {
    request.passphrase.dispose();
    workshop[Symbol.dispose]();
  });

  async function expectRefusal(code: string): Promise<void> {
    const before = sha256(volume.path);
    expect(await codeOf(workshop.backend.createEncrypted(request))).toBe(code);
    expect(sha256(volume.path)).toBe(before);
    expect(filesIn(workshop.directory)).toContain("disk.img");
  }

  const write = (offset: number, bytes: Buffer | string) =>
    overwrite(volume.path, offset, Buffer.from(bytes));

  describe("are refused and named when they hold", () => {
    it.each<[string, string, (path: string) => void]>([
      ["a file system", "ext4 file system", (path) => execFileSync("mkfs.ext4", ["-q", path])],
      ["an MBR", "MBR partition table", (path) => overwrite(path, 0, mbr())],
      ["a GPT", "GPT partition table", (path) => gpt().forEach(([at, bytes]) => overwrite(path, at, bytes))],
      ["a qcow2 image", "qcow2 image", (path) => makeImage({ kind: "file", path, format: "qcow2" }, MIB)],
    ])("%s", async (_, signature, fill) => {
      fill(volume.path);
      expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({ kind: "data", signature });
      expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature });
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("a byte in the last place, even of a sector that is not whole", async () => {
      truncateSync(volume.path, 8 * MIB + 1000);
      write(8 * MIB + 999, "x");
      expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature: undefined });
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("something that no tool knows", async () => {
      write(0, "something");
      expect(await workshop.backend.probe(volume, "header")).toEqual({ kind: "data", signature: undefined });
      expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({
        kind: "data",
        signature: undefined,
      });
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("a LUKS2 header of cryptsetup's own liking, which opens all the same", async () => {
      truncateSync(volume.path, 32 * MIB);
      luks2Format(volume.path);
      const header = { version: 2, sectorSize: 4096, payloadOffset: 16 * MIB };
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks", header });
      await expectRefusal("LUKS_UUID_MISMATCH");
      using passphrase = Secret.own(Buffer.from("a passphrase"));
      await workshop.backend.testPassphrase(volume, passphrase);
    });

    it("a LUKS2 header whose first copy is damaged, and say what mends it", async () => {
      truncateSync(volume.path, 32 * MIB);
      luks2Format(volume.path);
      write(5000, "x");
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({
        kind: "bad-luks",
        reason: expect.stringContaining("cryptsetup repair") as string,
      });
      await expectRefusal("VOLUME_NOT_EMPTY");
      expect(await codeOf(workshop.backend.testPassphrase(volume, request.passphrase))).toBe(
        "LUKS_HEADER_INVALID",
      );
    });

    it("a LUKS header that is cut off", async () => {
      await workshop.backend.createEncrypted(request);
      truncateSync(volume.path, 300);
      request = { ...request, uuid: newKeyUuid() };
      expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "bad-luks" });
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("a LUKS header without a payload", async () => {
      await workshop.backend.createEncrypted(request);
      truncateSync(volume.path, 2 * MIB);
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "bad-luks" });
    });

    it("a LUKS header of qemu-img", async () => {
      createLuksByQemu("luks", volume.path);
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
      await expectRefusal("LUKS_UUID_MISMATCH");
      using passphrase = Secret.own(Buffer.from("a passphrase"));
      await workshop.backend.testPassphrase(volume, passphrase);
    });
  });

  it("are empty where they are preallocated and were never written", async () => {
    const thick = workshop.makeEmpty("thick.img", 8 * MIB, "preallocation=falloc");
    expect(await workshop.backend.probe(thick, "allocation-map")).toEqual({ kind: "empty" });
  });

  it("are proven empty by reading them where they are filled with zeros", async () => {
    const thick = workshop.makeEmpty("thick.img", 8 * MIB, "preallocation=full");
    expect(await workshop.backend.probe(thick, "allocation-map")).toEqual({ kind: "allocated" });
    expect(await workshop.backend.probe(thick, "read")).toEqual({ kind: "empty" });
  });

  it.each([0, 512, 2 * MIB])("are too small with %i bytes", async (size) => {
    truncateSync(volume.path, size);
    await expectRefusal("VOLUME_TOO_SMALL");
  });

  it("have room for a guest's one sector behind the header", async () => {
    truncateSync(volume.path, 2 * MIB + 512);
    const header = await workshop.backend.createEncrypted(request);
    expect(await workshop.backend.guestSize(volume, header)).toBe(512n);
  });

  it("show a guest the sector that they end within", async () => {
    truncateSync(volume.path, 8 * MIB + 1000);
    const header = await workshop.backend.createEncrypted(request);
    const shown = guestSizeByQemu(workshop.backend.qemuNode(volume, "key"), request.passphrase);
    expect(await workshop.backend.guestSize(volume, header)).toBe(shown);
  });

  it("show a guest of dm-crypt's whole sectors only, and lose nothing behind them", async () => {
    truncateSync(volume.path, 8 * MIB + 1000);
    request = { ...request, spec: { ...SPEC, format: "luksv2" } };
    const header = await workshop.backend.createEncrypted(request);
    const guestSize = BigInt(6 * MIB + 512);
    expect(await workshop.backend.guestSize(volume, header)).toBe(guestSize);
    const large = { ...header, sectorSize: 4096 } as LuksHeader;
    expect(await workshop.backend.guestSize(volume, large)).toBe(BigInt(6 * MIB));
    const growing = { ...request, header: large, guest: "stopped" } as const;
    expect(await workshop.backend.grow({ ...growing, guestSize: BigInt(6 * MIB) })).toBe(BigInt(6 * MIB));
    expect(statSync(volume.path).size).toBe(8 * MIB + 1000);
    expect(await workshop.backend.grow({ ...growing, guestSize })).toBe(BigInt(6 * MIB + 4096));
    expect(statSync(volume.path).size).toBe(8 * MIB + 4096);
  });

  it("take only the room of a header", async () => {
    await workshop.backend.createEncrypted(request);
    expect(statSync(volume.path).blocks * 512).toBeLessThan(MIB / 2);
  });

  it("are one volume under all their hard links", async () => {
    const link = { ...volume, path: `${volume.path}.link` };
    linkSync(volume.path, link.path);
    const both = [request, { ...request, volume: link }].map((r) => workshop.another().createEncrypted(r));
    const [one, two] = await Promise.all(both);
    expect(one).toEqual(two);
    expect(workshop.runner.count("cryptsetup luksFormat")).toBe(1);
  });

  describe.each(["luks", "luksv2"] as const)("that were cut short as %s are made anew", (format) => {
    beforeEach(() => {
      request = { ...request, spec: { ...SPEC, format } };
    });

    const reopen = async () => {
      await workshop.backend.createEncrypted(request);
      expect(cryptsetupOpens(readFileSync(volume.path), request.passphrase)).toBe(true);
    };
    /** What another try under the same key had written. */
    const earlier = async (as: LuksSpec["format"] = format) => {
      const { uuid, passphrase } = request;
      const formatter = new LuksFormatter(workshop.runner);
      const image = await formatter.makeHeader(uuid, { ...SPEC, format: as }, passphrase);
      const [block, next] = image.pieces;
      if (block === undefined || next === undefined) throw new Error("an image has two pieces at least");
      return { ...image, block: block.bytes, next, half: next.bytes.subarray(0, 100_000) };
    };

    it("when only the header was written", async () => {
      write(0, (await earlier()).block);
      await reopen();
    });

    it("when the key material was written in part", async () => {
      const { block, next, half } = await earlier();
      write(0, block);
      write(next.offset, half);
      await reopen();
    });

    it("when a power cut tore the header", async () => {
      write(0, (await earlier()).block.subarray(0, 512));
      await reopen();
    });

    it("when the earlier try was under the other format", async () => {
      const other = format === "luks" ? "luksv2" : "luks";
      const { pieces } = await earlier(other);
      for (const { offset, bytes } of pieces) write(offset, bytes);
      write(200_000, Buffer.alloc(512));
      await reopen();
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({
        header: { version: format === "luks" ? 1 : 2 },
      });
    });

    it("but not when the earlier try, under the other format, came to its end", async () => {
      for (const { offset, bytes } of (await earlier(format === "luks" ? "luksv2" : "luks")).pieces)
        write(offset, bytes);
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("but not when a byte stands where we never write", async () => {
      write(0, (await earlier()).block);
      write(5 * MIB, "x");
      await expectRefusal("PASSPHRASE_REJECTED");
    });

    it("but not when there is no header of this key", async () => {
      const { next, half } = await earlier();
      write(next.offset, half);
      await expectRefusal("VOLUME_NOT_EMPTY");
    });
  });

  it("are taken back to zeros when they are moved away at the last moment", async () => {
    const before = sha256(volume.path);
    workshop.runner.before = ({ args }) => {
      if (args[0] === "open") execFileSync("mv", [volume.path, `${volume.path}.moved`]);
    };
    expect(await codeOf(workshop.backend.createEncrypted(request))).toBe("VOLUME_NOT_FOUND");
    expect(sha256(`${volume.path}.moved`)).toBe(before);
  });

  it("are formatted with these commands and no others", async () => {
    await workshop.backend.createEncrypted(request);
    expect(workshop.runner.lines.map((line) => line.replace(request.uuid, "UUID"))).toEqual([
      "flock -x -w 60 -E 75 3",
      "qemu-io --image-opts driver=blkdebug,image.driver=file,image.filename=/proc/self/fd/3,image.locking=on," +
        "unshare-child-perms.0=write,unshare-child-perms.1=resize",
      "cryptsetup luksFormat -q --type luks1 --uuid UUID --cipher aes-xts-plain64 --key-size 512 --hash sha256 " +
        "--offset 4096 --pbkdf-force-iterations 1000 --key-file /proc/self/fd/4 -- /proc/self/fd/3",
      "qemu-img map -U --output=json -f raw -- /proc/self/fd/3",
      "cryptsetup open --test-passphrase --type luks --key-file /proc/self/fd/3 -- /proc/self/fd/4",
    ]);
  });

  it("are named by blkid", async () => {
    write(0, "something");
    await workshop.backend.probe(volume, "read");
    expect(workshop.runner.lines).toEqual(["blkid -p -o export -- /proc/self/fd/3"]);
  });
});

/** As `cryptsetup luksFormat` does where nobody says how, but for the time that Argon2 takes. */
function luks2Format(path: string): void {
  const options = ["--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  execFileSync("cryptsetup", ["luksFormat", "-q", ...options, path, "-"], { input: "a passphrase" });
}

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** A partition table with one partition. */
function mbr(): Buffer {
  const sector = Buffer.alloc(512);
  sector.writeUInt8(0x83, 446 + 4);
  sector.writeUInt32LE(2048, 446 + 8);
  sector.writeUInt32LE(2048, 446 + 12);
  sector.writeUInt16BE(0x55aa, 510);
  return sector;
}

/** A GUID partition table without partitions, as [offset, bytes]: its header, which blkid wants to be whole. */
function gpt(): [number, Buffer][] {
  const protective = mbr();
  protective.writeUInt8(0xee, 446 + 4);
  protective.writeUInt32LE(1, 446 + 8);
  protective.writeUInt32LE((8 * MIB) / 512 - 1, 446 + 12);
  const entries = Buffer.alloc(128 * 128);
  const header = Buffer.alloc(92);
  header.write("EFI PART");
  header.writeUInt32LE(0x10000, 8);
  header.writeUInt32LE(92, 12);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt((8 * MIB) / 512 - 1), 32);
  header.writeBigUInt64LE(34n, 40);
  header.writeBigUInt64LE(BigInt((8 * MIB) / 512 - 34), 48);
  header.writeBigUInt64LE(2n, 72);
  header.writeUInt32LE(128, 80);
  header.writeUInt32LE(128, 84);
  header.writeUInt32LE(crc32(entries), 88);
  header.writeUInt32LE(crc32(header), 16);
  return [
    [0, protective],
    [512, header],
  ];
}
