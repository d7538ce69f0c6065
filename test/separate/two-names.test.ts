import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { claimedLuksUuid } from "../../src/encryption/luks-header.js";
import type { ConfiguredGuest } from "../../src/host/host-adapter.js";
import { Secret } from "../../src/secret/secret.js";
import { kinshipOf } from "../../src/separate/same-header.js";
import { separateVolume } from "../../src/separate/separate-volume.js";
import { createStorageRegistry, type StorageRegistry } from "../../src/storage/index.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { Killer } from "../recovery/killer.js";
import { keyringOf, RecoveryLab } from "../recovery/recovery-lab.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";

const MIB = 1024 * 1024;

/** As an export that is mounted twice, or two paths to a LUN: no number that stat(2) gives tells that it is one volume. */
describe("one volume under two names", { timeout: 240_000 }, () => {
  let lab: RecoveryLab;
  let disk: Awaited<ReturnType<RecoveryLab["disk"]>>;
  let loop: string;
  /** Somebody has both open, as QEMU has: what the kernel remembers of them stays. */
  let held: number[];
  let before: Buffer;

  beforeEach(async () => {
    lab = new RecoveryLab("raw");
    disk = await lab.disk();
    loop = execFileSync("losetup", ["--find", "--show", disk.volume.path], { encoding: "utf8" }).trim();
    await addKeyslot();
    held = [loop, disk.volume.path].map((path) => openSync(path, "r"));
    before = headerBytes();
    for (const fd of held) readSync(fd, Buffer.alloc(2 * MIB), 0, 2 * MIB, 0);
  });
  afterEach(() => {
    for (const fd of held) closeSync(fd);
    execFileSync("losetup", ["--detach", loop]);
    lab[Symbol.dispose]();
  });

  const headerBytes = () => {
    execFileSync("blockdev", ["--flushbufs", loop]);
    return readFileSync(disk.volume.path).subarray(0, 2 * MIB);
  };
  /** Of somebody who can open the volume without any keystore. */
  const addKeyslot = async () => {
    using passphrase = (await lab.key(disk.uuid)).passphrase;
    using added = Secret.randomPassphrase();
    await lab.workshop.backend.changeHeader(disk.volume, 2 * MIB, async (header) => {
      const { pieces } = await lab.keyslots.add(header, {
        passphrase,
        added,
        keyslot: 7,
        strength: "machine",
      });
      return pieces;
    });
  };

  function storageOf(killer: Killer): StorageRegistry {
    const { runner, lockDirectory } = lab.workshop;
    const real = createStorageRegistry(runner, DEFAULT_STORAGE, new VolumeLocks(runner, lockDirectory));
    const backendFor = async (volume: Volume): Promise<StorageBackend> =>
      killer.wrapBackend(await real.backendFor(volume));
    return Object.assign(Object.create(real) as StorageRegistry, {
      backendFor,
      findBackend: real.findBackend.bind(real),
    });
  }

  const mapping = (volume: Volume): DiskMapping => ({
    ...{ bus: "virtio", dev: "vda", type: "disk", encrypted: true, readOnly: false, volume },
    ...{ encryption_format: "luks", encryption_secret_uuid: disk.uuid },
  });

  async function separate(volume: Volume, killer = new Killer()): Promise<unknown> {
    const storage = storageOf(killer);
    const vda = mapping(volume);
    const guest: ConfiguredGuest = {
      ...{ id: "0a1b2c3d-0000-4000-8000-00000000000c", name: "clone1", asks: [], tags: [] },
      ...{ configuration: "", running: false, saved: false },
      disks: { disk_bus: "virtio", cdrom_bus: "ide", mapping: { vda } },
    };
    const ports = {
      ...lab.ports,
      storage,
      host: { annotate: () => Promise.reject(new Error("its configuration is changed")) },
      keyring: keyringOf(killer.wrap(lab.keystore, ["store", "change", "delete"])),
      vault: killer.wrap(lab.vault, ["keep", "destroy"]),
      runner: lab.workshop.runner,
    };
    return await separateVolume({ guest, disk: vda }, ports).catch((thrown: unknown) => thrown);
  }

  /** Nothing can be told from before. */
  async function expectUntouched(): Promise<void> {
    const now = headerBytes();
    expect(claimedLuksUuid(now)).toBe(disk.uuid);
    expect(await lab.machineOpens(disk)).toBeDefined();
    expect(lab.keyslots.used(now)).toEqual(lab.keyslots.used(before));
    expect(now.subarray(0, 1024).equals(before.subarray(0, 1024))).toBe(true);
    const left = await lab.keystore.find({});
    expect(left.map(({ uuid }) => uuid)).toEqual([disk.uuid]);
  }

  const names = {
    device: (): Volume => ({ kind: "block", path: loop, format: "raw" }),
    file: (): Volume => disk.volume,
  };

  it.each(["device", "file"] as const)("keeps its header where the guest has the %s", async (name) => {
    const other = name === "device" ? names.file() : names.device();
    if (name === "file") await lab.keystore.change(disk.uuid, (record) => ({ ...record, volume: loop }));
    const record = await lab.record(disk.uuid);
    expect((await kinshipOf({ volume: names[name]() }, record, storageOf(new Killer()))).kind).toBe("copy");

    expect(await separate(names[name]())).toMatchObject({
      code: "KEY_IN_USE",
      message: expect.stringContaining(`by another name`) as string,
    });

    await expectUntouched();
    expect(other).toMatchObject({ path: record.volume });
    expect(lab.audit.uses.at(-1)).toMatchObject({ event: "separate", result: "refused", code: "KEY_IN_USE" });
  });

  it("keeps it after a kill at any step, too", async () => {
    const count = new Killer();
    await separate(names.device(), count);
    expect(count.effects).toBeGreaterThan(10);
    for (let at = 1; at <= count.effects; at++) {
      expect(await separate(names.device(), new Killer(at))).toMatchObject({ message: "killed" });
      // what the keystore has under the UUID in the header opens the volume
      const uuid = claimedLuksUuid(headerBytes())!;
      using passphrase = (await lab.key(uuid)).passphrase;
      expect(await lab.keyslots.find(headerBytes(), passphrase)).toBeDefined();
      expect(await separate(names.device())).toMatchObject({ code: "KEY_IN_USE" });
      await expectUntouched();
    }
  });
});
