import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { type AllocateRequest, canAllocate } from "../../../src/storage/storage-backend.js";
import { DmDevice, type Target } from "../../lab/device-mapper.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, POOL, VolumeGroup } from "../../lab/volume-group.js";
import { LvmWorkshop } from "./lvm-workshop.js";
import { codeOf, MIB, SPEC } from "../workshop.js";

const GROUP_SIZE = 96 * MIB;

let group: VolumeGroup;
let passphrase: Secret;
beforeAll(() => {
  passphrase = Secret.randomPassphrase();
  group = new VolumeGroup({ size: GROUP_SIZE, thinPool: 16 * MIB });
});
afterAll(() => {
  passphrase.dispose();
  group[Symbol.dispose]();
});

let thick: LvmWorkshop;
let thin: LvmWorkshop;
beforeEach(() => {
  thick = new LvmWorkshop(group, "lvm");
  thin = new LvmWorkshop(group, "lvm-thin");
});
afterEach(async () => {
  await thick[Symbol.asyncDispose]();
  await thin[Symbol.asyncDispose]();
});

async function failureOf(work: Promise<unknown>): Promise<LuksmithError> {
  const thrown: unknown = await work.catch((error: unknown) => error);
  if (thrown instanceof LuksmithError) return thrown;
  throw thrown;
}

function allocate({ backend }: LvmWorkshop, request: AllocateRequest): Promise<bigint> {
  if (!canAllocate(backend)) throw new Error(`${backend.type} cannot allocate`);
  return backend.allocate(request);
}

describe("grow", () => {
  const growing = { passphrase, guest: "stopped" } as const;

  it("rounds up to an extent on each stripe, and is content with that when it is asked again", async () => {
    using disk = new LoopDevice(64 * MIB);
    lvm("vgextend", "--quiet", group.name, disk.path);
    lvm("lvcreate", "--quiet", "--yes", "--stripes=2", "--size=8m", "--name=disk", group.name);
    const volume = thick.volume("disk");
    writeFileSync(volume.path, Buffer.alloc(8 * MIB), { flag: "r+", flush: true });
    const header = await thick.backend.createEncrypted({
      volume,
      uuid: newKeyUuid(),
      spec: SPEC,
      passphrase,
    });
    expect(await thick.backend.extent?.(volume)).toBe(BigInt(8 * MIB));
    for (let attempt = 0; attempt < 2; attempt++) {
      const request = { ...growing, volume, header, guestSize: BigInt(6 * MIB + 512) };
      expect(await thick.backend.grow(request)).toBe(BigInt(14 * MIB));
      expect(group.field("disk", "lv_size")).toBe(String(16 * MIB));
    }
    lvm("lvremove", "--quiet", "--yes", volume.path);
    lvm("vgreduce", "--quiet", group.name, disk.path);
  });

  it("changes nothing where its group has no room, and says how much is missing", async () => {
    const volume = thick.makeEmpty("disk");
    const header = await thick.backend.createEncrypted({
      volume,
      uuid: newKeyUuid(),
      spec: SPEC,
      passphrase,
    });
    const before = thick.state();
    const request = { ...growing, volume, header, guestSize: BigInt(GROUP_SIZE) };
    expect(await failureOf(thick.backend.grow(request))).toMatchObject({
      code: "VOLUME_GROW_FAILED",
      why: expect.stringMatching(/Insufficient free space: \d+ extents needed/) as string,
    });
    expect(thick.state()).toEqual(before);
  });

  it("gives a thin volume more than its pool has", async () => {
    const volume = thin.makeEmpty("disk");
    const header = await thin.backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
    const guestSize = BigInt(1022 * MIB);
    expect(await thin.backend.grow({ ...growing, volume, header, guestSize })).toBe(guestSize);
  });

  it("leaves a snapshot of the old kind, and its origin while both are active, as they are", async () => {
    const volume = thick.makeEmpty("disk");
    const header = await thick.backend.createEncrypted({
      volume,
      uuid: newKeyUuid(),
      spec: SPEC,
      passphrase,
    });
    lvm("lvcreate", "--quiet", "--snapshot", "--size=4m", "--name=copy", `${group.name}/disk`);
    const before = thick.state();
    const request = { ...growing, header, guestSize: BigInt(7 * MIB) };
    expect(await failureOf(thick.backend.grow({ ...request, volume }))).toMatchObject({
      code: "VOLUME_GROW_FAILED",
      why: expect.stringContaining("Snapshot origin volumes can be resized only while inactive") as string,
    });
    const snapshot = thick.volume("copy");
    expect(await codeOf(thick.backend.grow({ ...request, volume: snapshot }))).toBe("VOLUME_GROW_FAILED");
    expect(await thick.backend.guestSize(snapshot, header)).toBe(BigInt(6 * MIB));
    expect(thick.state()).toEqual(before);
  });
});

describe("allocate", () => {
  const guestSize = BigInt(5 * MIB);

  const names = () =>
    lvm("lvs", "--noheadings", "-o", "lv_name", group.name)
      .split("\n")
      .map((line) => line.trim());

  /** Fills what is free with what guests have left there. */
  function soil(): void {
    lvm("lvcreate", "--quiet", "--yes", "--extents=100%FREE", "--name=old", group.name);
    writeFileSync(group.path("old"), Buffer.alloc(Number(group.field("old", "lv_size")), "secret"), {
      flag: "r+",
      flush: true,
    });
    lvm("lvremove", "--quiet", "--yes", `${group.name}/old`);
  }

  it("makes a thick volume that is all zeros, whatever was there; one that LVM alone made is refused", async () => {
    soil();
    const volume = thick.volume("new");
    expect(await allocate(thick, { volume, guestSize })).toBe(BigInt(8 * MIB));
    expect(thick.bytes(volume).equals(Buffer.alloc(8 * MIB))).toBe(true);
    await thick.backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });

    lvm("lvcreate", "--quiet", "--yes", "--size=8m", "--name=plain", group.name);
    expect(readFileSync(group.path("plain")).includes("secret")).toBe(true);
    const plain = { volume: thick.volume("plain"), uuid: newKeyUuid(), spec: SPEC, passphrase };
    expect(await codeOf(thick.backend.createEncrypted(plain))).toBe("VOLUME_NOT_EMPTY");
  });

  it("begins anew where a try was killed before the volume was empty, and leaves what is not its own", async () => {
    soil();
    const volume = thick.volume("new");
    // from there on nothing is done any more, as after a kill
    thick.runner.before = ({ tool }) => {
      if (tool === "blkdiscard" || tool === "lvremove")
        throw new LuksmithError("TOOL_FAILED", { what: tool });
    };
    expect(await codeOf(allocate(thick, { volume, guestSize }))).toBe("VOLUME_ALLOCATE_FAILED");
    thick.runner.before = () => undefined;
    const [temporary = ""] = names().filter((name) => name.startsWith("luksmith-unfinished-"));
    expect(readFileSync(group.path(temporary)).includes("secret")).toBe(true);
    expect(names()).not.toContain("new");

    expect(await allocate(thick, { volume, guestSize })).toBe(BigInt(8 * MIB));
    expect(thick.bytes(volume).equals(Buffer.alloc(8 * MIB))).toBe(true);
    expect(names()).not.toContain(temporary);
    expect(group.field("new", "lv_tags")).toBe("");

    lvm("lvremove", "--quiet", "--yes", volume.path);
    lvm("lvcreate", "--quiet", "--yes", "--size=4m", `--name=${temporary}`, group.name);
    expect(await codeOf(allocate(thick, { volume, guestSize }))).toBe("VOLUME_ALLOCATE_FAILED");
    expect(names()).toContain(temporary);
  });

  it("makes a thin volume that takes nothing of its pool yet", async () => {
    const volume = thin.volume("new");
    const size = 1022n * BigInt(MIB);
    expect(await allocate(thin, { volume, guestSize: size, pool: POOL })).toBe(BigInt(1024 * MIB));
    expect(group.field("new", "data_percent")).toBe("0.00");
    expect(await thin.backend.probe(volume, "allocation-map")).toEqual({ kind: "empty" });
  });

  it("leaves nothing where there is no room, no such group or pool, or no pool was named", async () => {
    const before = thick.state();
    const volume = thick.volume("new");
    const elsewhere = { kind: "block", path: "/dev/nogroup/new", format: "raw" } as const;
    const refusals: readonly (readonly [LvmWorkshop, AllocateRequest, RegExp])[] = [
      [thick, { volume, guestSize: BigInt(GROUP_SIZE) }, /insufficient free space/i],
      [thick, { volume: elsewhere, guestSize }, /Volume group "nogroup" not found/],
      [thick, { volume: thick.volume("pvmove1"), guestSize }, /^Names starting "pvmove" are reserved/],
      [thick, { volume, guestSize, pool: POOL }, /takes nothing from a pool/],
      [thin, { volume, guestSize, pool: "nopool" }, /nopool not found/],
      [thin, { volume, guestSize, pool: "--help" }, /can be called/],
      [thin, { volume, guestSize }, /no thin pool was named/],
    ];
    for (const [workshop, request, why] of refusals) {
      const failure = await failureOf(allocate(workshop, request));
      expect(failure.code, String(why)).toBe("VOLUME_ALLOCATE_FAILED");
      expect(failure.why).toMatch(why);
    }
    const file = { kind: "block", path: "/dev/new", format: "raw" } as const;
    expect(await codeOf(allocate(thick, { volume: file, guestSize }))).toBe("VOLUME_UNSUPPORTED");
    expect(thick.state()).toEqual(before);
  });

  it("takes the volume away again if it cannot be overwritten", async () => {
    using disk = new LoopDevice(64 * MIB);
    // not from the disk's first byte: LVM would find its label on both
    const head: Target = { kind: "linear", size: MIB, device: disk.path, offset: MIB };
    const extents: Target = { kind: "linear", size: 48 * MIB, device: disk.path, offset: 2 * MIB };
    using device = new DmDevice(head, extents);
    using broken = new VolumeGroup({ device: device.path });
    await using workshop = new LvmWorkshop(broken, "lvm");
    workshop.runner.before = ({ tool }) => {
      if (tool === "blkdiscard") device.become(head, { kind: "error", size: extents.size });
    };
    const request = { volume: workshop.volume("new"), guestSize };
    expect(await codeOf(allocate(workshop, request))).toBe("VOLUME_ALLOCATE_FAILED");
    expect(lvm("lvs", "--noheadings", broken.name)).toBe("");
    expect(workshop.devices()).toEqual([]);
  });
});
