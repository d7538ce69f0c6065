import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { createStorageRegistry, type StorageRegistry } from "../../../src/storage/index.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { DmDevice } from "../../lab/device-mapper.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, POOL, VolumeGroup } from "../../lab/volume-group.js";
import { DEFAULT_STORAGE } from "../default-storage.js";
import { codeOf, MIB, SPEC } from "../workshop.js";

let group: VolumeGroup;
let directory: string;
let runner: RecordingCommandRunner;
let storage: StorageRegistry;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-lookup-"));
  group = new VolumeGroup({ name: "lv-m.+", thinPool: 32 * MIB });
  group.create("thick-1", 8 * MIB);
  group.create("other", 8 * MIB);
  group.createThin("thin-1", 64 * MIB);
});
afterAll(() => {
  group[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  runner = new RecordingCommandRunner();
  storage = createStorageRegistry(runner, DEFAULT_STORAGE, new VolumeLocks(runner, join(directory, "lock")));
});

const volume = (path: string) => ({ kind: "block", path, format: "raw" }) as const;
const typeOf = async (path: string) => (await storage.backendFor(volume(path))).type;

/** Asserts that no storage backend touches what is under `path`. */
async function expectRefused(path: string, reason: RegExp): Promise<void> {
  const backend = await storage.backendFor(volume(path));
  expect(backend.type, path).toBe("lvm");
  expect(await backend.probe(volume(path), "read")).toEqual({
    kind: "unreadable",
    reason: expect.stringMatching(reason) as string,
  });
  using passphrase = Secret.randomPassphrase();
  const request = { volume: volume(path), uuid: newKeyUuid(), spec: SPEC, passphrase };
  expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_UNREADABLE");
}

function link(target: string, path = join(directory, newKeyUuid())): string {
  symlinkSync(target, path);
  return path;
}

it("knows thick and thin volumes by every path, without a process while they are active", async () => {
  expect(await typeOf("/dev/lv-m.+/thick-1")).toBe("lvm");
  expect(await typeOf("/dev/mapper/lv--m.+-thick--1")).toBe("lvm");
  expect(await typeOf(link("/dev/lv-m.+/thick-1"))).toBe("lvm");
  expect(await typeOf("/dev/lv-m.+/thin-1")).toBe("lvm-thin");
  expect(await typeOf("/dev/mapper/lv--m.+-thin--1")).toBe("lvm-thin");
  expect(runner.lines).toEqual([]);

  group.deactivate();
  expect(await typeOf("/dev/lv-m.+/thick-1")).toBe("lvm");
  expect(await typeOf("/dev/mapper/lv--m.+-thick--1")).toBe("lvm");
  expect(await typeOf("/dev/lv-m.+/thin-1")).toBe("lvm-thin");
  expect(await typeOf("/dev/mapper/lv--m.+-thin--1")).toBe("lvm-thin");
  lvm("vgchange", "--quiet", "--activate", "y", group.name);
});

it("leaves other devices to the backend for block devices, without a process", async () => {
  using loop = new LoopDevice(8 * MIB);
  using mapping = new DmDevice({ kind: "linear", size: 4 * MIB, device: loop.path });
  for (const path of [loop.path, mapping.path, link(mapping.path), "/dev/null", "/dev/sdx", directory]) {
    expect(await typeOf(path), path).toBe("block");
  }
  expect(runner.lines).toEqual([]);
});

it("leaves to it what looks like a volume, and LVM does not know", async () => {
  using loop = new LoopDevice(8 * MIB);
  using mapping = new DmDevice({ kind: "linear", size: 4 * MIB, device: loop.path });
  const custom = link(mapping.path, `/dev/${group.name}/custom`);
  const paths = ["/dev/lv-m.+/none", "/dev/nogroup/none", "/dev/mapper/no-thing", custom];
  for (const path of paths) expect(await typeOf(path), path).toBe("block");
  expect(await (await storage.backendFor(volume(paths[0]!))).probe(volume(paths[0]!), "read")).toEqual({
    kind: "absent",
  });
  rmSync(custom);
});

it("finds a thin volume under its snapshots of the old kind, and takes those for thick ones", async () => {
  lvm("lvcreate", "--quiet", "--snapshot", "--size=4m", "--name=old", `${group.name}/thin-1`);
  expect(await typeOf("/dev/lv-m.+/thin-1")).toBe("lvm-thin");
  expect(await typeOf("/dev/lv-m.+/old")).toBe("lvm");
  await expectRefused("/dev/mapper/lv--m.+-thin--1-real", /part of LVM's own/);
  await expectRefused("/dev/mapper/lv--m.+-old-cow", /part of LVM's own/);
  lvm("lvremove", "--quiet", "--yes", `${group.name}/old`);
});

it("refuses thin pools and their parts, active or not", async () => {
  await expectRefused(`/dev/${group.name}/${POOL}`, /part of LVM's own/);
  await expectRefused(`/dev/mapper/lv--m.+-${POOL}-tpool`, /part of LVM's own/);
  await expectRefused(`/dev/mapper/lv--m.+-${POOL}_tdata`, /part of LVM's own/);
  await expectRefused(`/dev/mapper/lv--m.+-${POOL}_tmeta`, /part of LVM's own/);
  group.deactivate();
  await expectRefused(`/dev/${group.name}/${POOL}`, /part of LVM's own/);
  await expectRefused(`/dev/${group.name}/${POOL}_tdata`, /part of LVM's own/);
  lvm("vgchange", "--quiet", "--activate", "y", group.name);
});

it("refuses a path that is a volume's and leads to another device", async () => {
  using loop = new LoopDevice(8 * MIB);
  using mapping = new DmDevice({ kind: "linear", size: 8 * MIB, device: loop.path });
  const path = `/dev/${group.name}/other`;
  renameSync(path, `${path}.away`);
  for (const target of [`/dev/${group.name}/thick-1`, mapping.path]) {
    await expectRefused(
      link(target, path),
      /^its path leads to device .*, which is not logical volume lv-m.\+\/other$/,
    );
    rmSync(path);
  }
  // a link that outlived the volume that it was for
  await expectRefused(link(`/dev/${group.name}/thick-1`, `/dev/${group.name}/gone`), /leads to device/);
  rmSync(`/dev/${group.name}/gone`);
  renameSync(`${path}.away`, path);
});

it("does not take for a volume what somebody has written where its device would be", async () => {
  lvm("lvchange", "--quiet", "--activate=n", `${group.name}/other`);
  const path = "/dev/mapper/lv--m.+-other";
  writeFileSync(path, Buffer.alloc(MIB));
  const backend = await storage.backendFor(volume(path));
  expect(await backend.probe(volume(path), "read")).toMatchObject({ kind: "unreadable" });
  rmSync(path);
  lvm("lvchange", "--quiet", "--activate=y", `${group.name}/other`);
});

it("says why LVM does not answer about a volume", async () => {
  group.deactivate();
  const other = ["--systemid=elsewhere", '--config=local/extra_system_ids=["elsewhere"]'];
  lvm("vgchange", "--quiet", "--yes", ...other, group.name);
  await expectRefused("/dev/lv-m.+/thick-1", /^Cannot access VG lv-m.\+ with system ID elsewhere/);
});
