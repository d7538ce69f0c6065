import { writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { DmDevice, type Target } from "../../lab/device-mapper.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import type { BlockVolume } from "../device-workshop.js";
import { LvmWorkshop } from "./lvm-workshop.js";
import { qemuIo, run } from "../qemu.js";
import { codeOf, MIB, SPEC } from "../workshop.js";

// the group is on a device whose physical volume can be made to fail
let disk: LoopDevice;
let device: DmDevice;
let group: VolumeGroup;
let head: Target;
let extents: Target & { readonly device: string; readonly offset: number };
beforeAll(() => {
  disk = new LoopDevice(130 * MIB);
  // not from the disk's first byte: LVM would find its label on both
  head = { kind: "linear", size: MIB, device: disk.path, offset: MIB };
  extents = { kind: "linear", size: 128 * MIB, device: disk.path, offset: 2 * MIB };
  device = new DmDevice(head, extents);
  group = new VolumeGroup({ device: device.path });
});
afterAll(() => {
  group[Symbol.dispose]();
  device[Symbol.dispose]();
  disk[Symbol.dispose]();
});

let workshop: LvmWorkshop;
let volume: BlockVolume;
let request: FormatRequest;
beforeEach(() => {
  workshop = new LvmWorkshop(group, "lvm");
  volume = workshop.makeEmpty("disk");
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
});
afterEach(async () => {
  request.passphrase.dispose();
  await workshop[Symbol.asyncDispose]();
});

/** Asserts that formatting is refused, and changes nothing. */
async function expectRefusal(code: ErrorCode, why: string): Promise<void> {
  const before = workshop.state();
  const thrown: unknown = await workshop.backend.createEncrypted(request).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(LuksmithError);
  expect(thrown).toMatchObject({ code, why: expect.stringContaining(why) as string });
  expect(workshop.state()).toEqual(before);
}

const luksFormat = (...options: readonly string[]) =>
  run("sh", [
    "-c",
    'printf secret | cryptsetup luksFormat -q --key-file=- "$@"',
    "sh",
    ...["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", ...options, volume.path],
  ]);

it("refuses a volume that holds something, and says what", async () => {
  const { path } = volume;
  const zeros = Buffer.alloc(8 * MIB);
  const write = (bytes: Buffer) => writeFileSync(path, bytes, { flag: "r+", flush: true });
  const found: readonly (readonly [() => void, string])[] = [
    [() => lvm("pvcreate", "--quiet", "--config=devices/scan_lvs=1", path), "LVM2_member signature"],
    [
      () => run("sh", ["-c", "echo 2048,4096,83 | sfdisk -q --no-tell-kernel $0", path]),
      "MBR partition table",
    ],
    [() => run("mkfs.ext4", ["-q", path]), "ext4 file system"],
    [() => run("qemu-img", ["create", "-q", "-f", "qcow2", path, "4M"]), "qcow2 image"],
    [() => write(Buffer.concat([zeros.subarray(1), Buffer.of(1)])), "data"],
  ];
  for (const [put, what] of found) {
    put();
    await expectRefusal("VOLUME_NOT_EMPTY", what);
    write(zeros);
  }
  const uuid = "01234567-89ab-4def-8123-456789abcdef";
  for (const version of [["--type=luks1"], ["--type=luks2", "--luks2-keyslots-size=512k"]]) {
    luksFormat(...version, `--uuid=${uuid}`);
    await expectRefusal("LUKS_UUID_MISMATCH", uuid);
    write(zeros);
  }
});

it("refuses a volume with a snapshot, though it is empty", async () => {
  lvm("lvcreate", "--quiet", "--snapshot", "--size=4m", "--name=copy", `${group.name}/disk`);
  expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature: "1 snapshot" });
  await expectRefusal("VOLUME_NOT_EMPTY", "1 snapshot");
  lvm("lvcreate", "--quiet", "--snapshot", "--size=4m", "--name=copy2", `${group.name}/disk`);
  await expectRefusal("VOLUME_NOT_EMPTY", "2 snapshots");
});

it("refuses a volume that LVM lets nobody write to", async () => {
  lvm("lvchange", "--quiet", "--permission=r", `${group.name}/disk`);
  await expectRefusal("VOLUME_WRITE_FAILED", "");
});

it("refuses a volume that was removed after it was found empty", async () => {
  expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
  lvm("lvremove", "--quiet", "--yes", volume.path);
  expect(await codeOf(workshop.backend.createEncrypted(request))).toBe("VOLUME_NOT_FOUND");
});

it("formats once its disk can be written to again, if that failed in the middle", async () => {
  const failing = { ...extents, kind: "flakey", up: 0, down: 1000, features: ["error_writes"] } as const;
  workshop.runner.before = ({ args }) => {
    if (args[0] === "luksFormat") device.become(head, failing);
  };
  expect(await codeOf(workshop.backend.createEncrypted(request))).toBe("VOLUME_WRITE_FAILED");
  workshop.runner.before = () => undefined;
  device.become(head, extents);
  const header = await workshop.backend.createEncrypted(request);
  qemuIo(
    workshop.backend.qemuNode(volume, "key"),
    ["write -P 7 0 64k", "read -P 7 0 64k"],
    request.passphrase,
  );
  expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "luks", header });
});
