import { execFileSync } from "node:child_process";
import { closeSync, linkSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { imageFileContract } from "../../contract/image-file.contract.js";
import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { createLuksByQemu } from "../../encryption/qemu-luks.js";
import { plainNode, qemuIo } from "../qemu.js";
import { codeOf, filesIn, type FileVolume, MIB, sha256, SPEC, Workshop } from "../workshop.js";

storageBackendContract("qcow2", () => new Workshop("qcow2"), { allocates: "allocates", formats: ["luks"] });
imageFileContract("qcow2");

describe("qcow2 image files", () => {
  let workshop: Workshop;
  let volume: FileVolume;
  let request: FormatRequest;

  beforeEach(() => {
    workshop = new Workshop("qcow2");
    volume = workshop.makeEmpty("disk.img");
    request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
  });
  afterEach(() => {
    request.passphrase.dispose();
    workshop[Symbol.dispose]();
  });

  const inDirectory = (name: string) => join(workshop.directory, name);
  const qemuImg = (...args: string[]) =>
    execFileSync("qemu-img", args, { stdio: "pipe", cwd: workshop.directory });

  async function expectRefusal(code: string): Promise<void> {
    const before = { hash: sha256(volume.path), files: filesIn(workshop.directory) };
    expect(await codeOf(workshop.backend.createEncrypted(request))).toBe(code);
    expect({ hash: sha256(volume.path), files: filesIn(workshop.directory) }).toEqual(before);
  }

  describe("are refused and named when they are", () => {
    it.each<[string, string, () => void]>([
      [
        "with internal snapshots",
        "qcow2 image with internal snapshots",
        () => qemuImg("snapshot", "-c", "s", volume.path),
      ],
      [
        "with persistent bitmaps",
        "qcow2 image with persistent bitmaps",
        () => qemuImg("bitmap", "--add", volume.path, "b"),
      ],
      [
        "with an external data file",
        "qcow2 image with an external data file",
        () => qemuImg("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", volume.path, "8M"),
      ],
      [
        "encrypted in QEMU's old way",
        "qcow2 image with QEMU's old AES encryption",
        () =>
          qemuImg(
            ...["create", "-q", "-f", "qcow2", "--object", "secret,id=key,data=x"],
            ...["-o", "encrypt.format=aes,encrypt.key-secret=key", volume.path, "8M"],
          ),
      ],
      ["no qcow2 images", "content that is no qcow2 image", () => truncateSync(volume.path, 0)],
      ["file systems", "ext4 file system", () => execFileSync("mkfs.ext4", ["-q", "-F", volume.path, "8M"])],
    ])("%s", async (_, signature, make) => {
      make();
      expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({ kind: "data", signature });
      expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature });
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("compressed", async () => {
      qemuIo(plainNode(volume), ["write -c -P 5 0 64k"]);
      expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature: undefined });
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("marked as corrupt", async () => {
      overwrite(volume.path, 79, Buffer.from([2]));
      expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "unreadable" });
      await expectRefusal("VOLUME_UNREADABLE");
    });

    it("damaged within their tables", async () => {
      qemuIo(plainNode(volume), ["write 0 64k"]);
      // the refcount of a used cluster stays, its place in the L1 table leads nowhere
      overwrite(volume.path, 3 * 65_536, Buffer.from("80ffffffffffff00", "hex"));
      expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "unreadable" });
      await expectRefusal("VOLUME_UNREADABLE");
    });

    it("encrypted by qemu-img under a key that is not ours", async () => {
      createLuksByQemu("qcow2", volume.path);
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
      await expectRefusal("LUKS_UUID_MISMATCH");
      using passphrase = Secret.own(Buffer.from("a passphrase"));
      await workshop.backend.testPassphrase(volume, passphrase);
    });

    it("cut off within their LUKS header", async () => {
      await workshop.backend.createEncrypted(request);
      truncateSync(volume.path, 5 * 65_536);
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "bad-luks" });
      await expectRefusal("VOLUME_NOT_EMPTY");
      expect(await codeOf(workshop.backend.testPassphrase(volume, request.passphrase))).toBe(
        "LUKS_HEADER_INVALID",
      );
    });
  });

  it("with allocated clusters of zeros are proven empty by reading them", async () => {
    const thick = workshop.makeEmpty("thick.img", 8 * MIB, "preallocation=full");
    expect(await workshop.backend.probe(thick, "allocation-map")).toEqual({ kind: "allocated" });
    expect(await workshop.backend.probe(thick, "read")).toEqual({ kind: "empty" });
  });

  it("lose what a killed call left behind, and no other file", async () => {
    const [ours, other] = [`.luksmith-${request.uuid}.tmp`, `.luksmith-${newKeyUuid()}.tmp`];
    for (const name of [ours, other]) writeFileSync(inDirectory(name), "left behind");
    await workshop.backend.createEncrypted(request);
    expect(filesIn(workshop.directory)).toEqual([other, "disk.img"]);
  });

  it("keep their extended attributes", async () => {
    setAttribute(volume.path, "user.backup", "daily");
    await workshop.backend.createEncrypted(request);
    expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
    expect(getAttribute(volume.path, "user.backup")).toBe("daily");
  });

  it("keep a hard link's other name as it was", async () => {
    const other = inDirectory("other.img");
    linkSync(volume.path, other);
    const before = sha256(other);
    await workshop.backend.createEncrypted(request);
    expect(sha256(other)).toBe(before);
    expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
  });

  it("are formatted with these commands and no others", async () => {
    await workshop.backend.createEncrypted(request);
    expect(workshop.runner.lines.map((line) => line.replace(request.uuid, "UUID"))).toEqual([
      "flock -x -w 60 -E 75 3",
      "qemu-io --image-opts driver=blkdebug,image.driver=file,image.filename=/proc/self/fd/3,image.locking=on," +
        "unshare-child-perms.0=write,unshare-child-perms.1=resize",
      "qemu-img map -U --output=json -f qcow2 -- /proc/self/fd/3",
      "qemu-img create -q -f qcow2 -o cluster_size=65536,compat=1.1,refcount_bits=16,lazy_refcounts=off -- " +
        "/proc/self/fd/3 8388608",
      "cryptsetup luksFormat -q --type luks1 --uuid UUID --cipher aes-xts-plain64 --key-size 512 --hash sha256 " +
        "--offset 4096 --pbkdf-force-iterations 1000 --key-file /proc/self/fd/4 -- /proc/self/fd/3",
      'qemu-img check -q --object secret,id=key,file=/proc/self/fd/3 -- json:{"driver":"qcow2","encrypt":' +
        '{"format":"luks","key-secret":"key"},"file":{"driver":"file","filename":"/proc/self/fd/4"},"backing":null}',
      "cp --attributes-only --preserve=mode,ownership,xattr -- /proc/self/fd/3 /proc/self/fd/4",
      "qemu-img map -U --output=json -f qcow2 -- /proc/self/fd/3",
    ]);
  });
});

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** setxattr(2) and getxattr(2), by their numbers: neither Node nor a tool of every Debian has them, but perl calls any. */
const CALLS = process.arch === "x64" ? { set: 188, get: 191 } : { set: 5, get: 8 };

function setAttribute(path: string, name: string, value: string): void {
  execFileSync("perl", ["-e", `exit syscall(${CALLS.set}, @ARGV, ${value.length}, 0)`, path, name, value]);
}

function getAttribute(path: string, name: string): string {
  const script = `$v = "\\0" x 99; print substr($v, 0, syscall(${CALLS.get}, @ARGV, $v, 99))`;
  return execFileSync("perl", ["-e", script, path, name], { encoding: "utf8" });
}
