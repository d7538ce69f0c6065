import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { DmDevice } from "../../lab/device-mapper.js";
import { DmTable } from "../../lab/dm-table.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, POOL, VolumeGroup, type VolumeGroupOptions } from "../../lab/volume-group.js";
import type { BlockVolume } from "../device-workshop.js";
import { LvmWorkshop } from "./lvm-workshop.js";
import { qemuIo, run } from "../qemu.js";
import { MIB, SPEC } from "../workshop.js";

const BLOCK = 64 * 1024;
/** What a format writes is the header's block of 4 KiB and the key material of one keyslot, in whole blocks. */
const HEADER_BLOCKS = Math.ceil((4096 + 64 * 4000) / BLOCK);

let group: VolumeGroup;
let workshop: LvmWorkshop;
let volume: BlockVolume;
let request: FormatRequest;

/** What the group is on, where that is not its own. */
const below: Disposable[] = [];

/** A group whose pool a test may ruin, and a volume of it. */
function start(options: VolumeGroupOptions, size = 64 * MIB): void {
  group = new VolumeGroup(options);
  workshop = new LvmWorkshop(group, "lvm-thin");
  volume = workshop.makeEmpty("disk", size);
}

beforeEach(() => {
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
});
afterEach(() => {
  request.passphrase.dispose();
  group[Symbol.dispose]();
  for (const device of below.splice(0).reverse()) device[Symbol.dispose]();
});

const create = () => workshop.backend.createEncrypted({ ...request, volume });

/** Asserts that formatting fails over the pool, and that the volume has none of its blocks. */
async function expectFailure(why: RegExp): Promise<void> {
  const thrown: unknown = await create().catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(LuksmithError);
  expect(thrown).toMatchObject({
    code: "VOLUME_WRITE_FAILED",
    why: expect.stringMatching(why) as string,
  });
}

async function expectEncrypted(): Promise<void> {
  const header = await create();
  qemuIo(
    workshop.backend.qemuNode(volume, "key"),
    ["write -P 7 0 64k", "read -P 7 0 64k"],
    request.passphrase,
  );
  expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "luks", header });
}

/** Bytes for which a volume has blocks. */
function mappedBytes({ path }: BlockVolume = volume): number {
  const [, , , sectors] = new DmTable(path).status.split(" ");
  return Number(sectors) * 512;
}

function write(path: string, bytes: Buffer, position = 0): void {
  const fd = openSync(path, "r+");
  try {
    writeSync(fd, bytes, 0, bytes.length, position);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

describe("a thin volume", () => {
  it("takes no more of its pool than its header needs, and is proven empty unread, however large", async () => {
    start({ thinPool: 16 * MIB }, 1024 ** 4);
    expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({ kind: "empty" });
    await create();
    expect(mappedBytes()).toBe(HEADER_BLOCKS * BLOCK);
    await create();
    expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "luks" });
    expect(mappedBytes()).toBe(HEADER_BLOCKS * BLOCK);
  });

  it("is read up to its last block only, wherever that is", async () => {
    start({ thinPool: 16 * MIB }, 1024 ** 4);
    write(volume.path, Buffer.alloc(BLOCK), 3 * MIB);
    expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({ kind: "allocated" });
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
    write(volume.path, Buffer.of(1), 5 * MIB);
    expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "data" });
  });

  it("is not formatted while it has snapshots; a snapshot of its own is a volume as any other", async () => {
    start({ thinPool: 16 * MIB });
    lvm("lvcreate", "--quiet", "--snapshot", "--name=copy", "--setactivationskip=n", `${group.name}/disk`);
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature: "1 snapshot" });
    await expect(create()).rejects.toMatchObject({ code: "VOLUME_NOT_EMPTY" });
    expect(mappedBytes()).toBe(0);
    volume = workshop.volume("copy");
    await expectEncrypted();
  });

  it("that begins as a copy of another volume is not empty because it has no blocks", async () => {
    start({ thinPool: 16 * MIB });
    const origin = group.create("image", 8 * MIB);
    write(origin, Buffer.alloc(8 * MIB));
    write(origin, Buffer.from("old data"), 4 * MIB);
    lvm("lvchange", "--quiet", "--activate=n", "--permission=r", `${group.name}/image`);
    const pool = `--thinpool=${group.name}/${POOL}`;
    lvm("lvcreate", "--quiet", "--snapshot", pool, "--name=clone", `${group.name}/image`);
    volume = workshop.volume("clone");
    expect(mappedBytes()).toBe(0);
    expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({ kind: "allocated" });
    expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "data" });
    await expect(create()).rejects.toMatchObject({ code: "VOLUME_NOT_EMPTY" });
  });

  it("of a pool that gives out old bytes is finished if a kill left only the start of its header", async () => {
    group = new VolumeGroup();
    const options = ["--type=thin-pool", "--chunksize=1m", "--zero=n", "--size=16m"];
    lvm("lvcreate", "--quiet", "--yes", ...options, `--name=${POOL}`, group.name);
    workshop = new LvmWorkshop(group, "lvm-thin");
    volume = workshop.makeEmpty("disk", 16 * MIB);
    expect(new DmTable(`${group.name}-${POOL}-tpool`).lines.join()).toContain("skip_block_zeroing");
    const header = await create().then(() => readFileSync(volume.path).subarray(0, 4096));
    lvm("lvremove", "--quiet", "--yes", volume.path);
    write(group.createThin("old", 16 * MIB), Buffer.alloc(16 * MIB, "old bytes"));
    lvm("lvremove", "--quiet", "--yes", `${group.name}/old`);

    workshop.makeEmpty("disk", 16 * MIB);
    write(volume.path, header);
    expect(mappedBytes()).toBe(MIB);
    expect(readFileSync(volume.path).includes("old bytes")).toBe(true);
    await expectEncrypted();
  });
});

describe("a thin pool", () => {
  function fill(path: string): void {
    for (let offset = 0; offset < 8 * MIB; offset += MIB) write(path, Buffer.alloc(MIB, 1), offset);
  }

  it("that is full is named before anything is written", async () => {
    start({ thinPool: 8 * MIB }, 16 * MIB);
    fill(group.createThin("other", 64 * MIB));
    const before = workshop.state();
    await expectFailure(/^thin pool \S+\/pool is full: 0 of its blocks are free$/);
    expect(workshop.state()).toEqual(before);
    expect(mappedBytes()).toBe(0);
  });

  it("that fills up while the header is made is named, and the volume is formatted once there is room", async () => {
    start({ thinPool: 8 * MIB });
    const other = group.createThin("other", 64 * MIB);
    // seconds that a pool waits for somebody to give it more
    writeFileSync("/sys/module/dm_thin_pool/parameters/no_space_timeout", "1");
    workshop.runner.before = ({ args }) => {
      if (args[0] === "luksFormat") fill(other);
    };
    await expectFailure(/^thin pool \S+\/pool is full: 0 of its blocks are free$/);
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
    workshop.runner.before = () => undefined;
    lvm("lvextend", "--quiet", "--size=+8m", `${group.name}/${POOL}`);
    await expectEncrypted();
  });

  it("that has hardly room for metadata is named, and goes on to work for others", async () => {
    const disk = new LoopDevice(64 * MIB);
    // data is forgotten at once, so that there can be enough of it to fill the metadata
    const device = new DmDevice(
      { kind: "linear", size: 32 * MIB, device: disk.path, offset: MIB },
      { kind: "zero", size: 16 * 1024 * MIB },
    );
    below.push(disk, device);
    group = new VolumeGroup({ device: device.path, extentSize: MIB });
    lvm("lvcreate", "--quiet", "--yes", "--size=2m", "--name=metadata", group.name, `${device.path}:0-9`);
    lvm("lvcreate", "--quiet", "--yes", "--size=8g", `--name=${POOL}`, group.name, `${device.path}:31-`);
    const options = ["--type=thin-pool", "--chunksize=64k", "--zero=n", "--poolmetadata=metadata"];
    lvm("lvconvert", "--quiet", "--yes", ...options, `${group.name}/${POOL}`);
    workshop = new LvmWorkshop(group, "lvm-thin");
    volume = workshop.makeEmpty("disk", 64 * MIB);
    const other = group.createThin("other", 8 * 1024 * MIB);
    const fd = openSync(other, "r+");
    for (let count = 0, free = freeMetadata(); free >= 64; free = freeMetadata()) {
      // in no order, so that the tables fill badly
      for (const end = count + (free > 200 ? 4000 : 500); count < end; count++) {
        writeSync(fd, "x", ((count * 7919) % 130_000) * BLOCK);
      }
      fsyncSync(fd);
    }
    closeSync(fd);

    await expectFailure(/^thin pool \S+\/pool is full: \d+ of its metadata blocks are free$/);
    expect(mappedBytes()).toBe(0);
    write(other, Buffer.from("still works"), 7 * MIB);
  });

  function freeMetadata(): number {
    const { status } = new DmTable(`${group.name}-${POOL}-tpool`);
    const [used = 0, total = 0] = status.split(" ")[4]!.split("/").map(Number);
    return total - used;
  }

  it("whose disk fails while the header is written is named", async () => {
    start({ thinPool: 8 * MIB });
    workshop.runner.before = ({ args }) => {
      if (args[0] !== "luksFormat") return;
      workshop
        .poolTable("tdata")
        .become((line) => line.replace(/linear (.*)$/, "flakey $1 0 1000 1 error_writes"));
    };
    await expectFailure(/^thin pool \S+ must be repaired first: lvconvert --repair \S+\/pool$/);
    workshop.runner.before = () => undefined;
    await expectFailure(/^thin pool \S+ must be repaired first: lvconvert --repair \S+\/pool$/);
  });

  it("that has failed makes its volumes unreadable", async () => {
    start({ thinPool: 8 * MIB });
    workshop.poolTable("tmeta").become((line) => line.replace(/^(\d+ \d+) .*$/, "$1 error"));
    run("sh", ["-c", "dd if=/dev/zero of=$0 bs=4k count=1 conv=fsync 2>/dev/null || true", volume.path]);
    expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "unreadable" });
    await expect(create()).rejects.toMatchObject({ code: "VOLUME_UNREADABLE" });
  });
});
