import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { LvActivation } from "../../../src/storage/lvm/lvm-activation.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import type { BlockVolume } from "../device-workshop.js";
import { FormatProcess } from "../format-elsewhere.js";
import { type LvmType, LvmWorkshop } from "./lvm-workshop.js";
import { codeOf, MIB, SPEC } from "../workshop.js";

let group: VolumeGroup;
beforeAll(() => {
  group = new VolumeGroup({ thinPool: 64 * MIB });
});
afterAll(() => group[Symbol.dispose]());

let workshop: LvmWorkshop;
let volume: BlockVolume;
let request: FormatRequest;

function start(type: LvmType): void {
  workshop = new LvmWorkshop(group, type);
  volume = workshop.makeEmpty("disk");
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
  group.deactivate();
}

afterEach(async () => {
  request.passphrase.dispose();
  await workshop[Symbol.asyncDispose]();
});

/** Asserts that nothing of the group is active after `work`, nor a part of its thin pool. */
async function leavesInactive<T>(work: Promise<T>): Promise<T> {
  const result = await work;
  expect(workshop.devices()).toEqual([]);
  return result;
}

describe.each(["lvm", "lvm-thin"] as const)("%s: a volume that is not active", (type) => {
  beforeEach(() => start(type));

  it("is formatted and found, and not active afterwards", async () => {
    const header = await leavesInactive(workshop.backend.createEncrypted(request));
    expect(await leavesInactive(workshop.backend.probe(volume, "header"))).toEqual({ kind: "luks", header });
  });

  it("is deactivated by the last of those who use it, whoever has activated it", async () => {
    const user = () => {
      const runner = new RecordingCommandRunner();
      return new LvActivation(runner, new VolumeLocks(runner, workshop.lockDirectory));
    };
    const [first, second] = [user(), user()];
    const lv = { group: group.name, volume: "disk" };
    const one = await first.use(volume.path, lv);
    const active = workshop.devices();
    expect(active.length).toBeGreaterThan(0);
    const two = await second.use(volume.path, lv);
    await one[Symbol.asyncDispose]();
    expect(workshop.devices()).toEqual(active);
    const three = await first.use(volume.path, lv);
    await two[Symbol.asyncDispose]();
    expect(workshop.devices()).toEqual(active);
    await three[Symbol.asyncDispose]();
    expect(workshop.devices()).toEqual([]);
  });

  it("is used by several at once, none of whom takes it from the others", async () => {
    using elsewhere = new FormatProcess(workshop);
    const answers = await Promise.all([
      elsewhere.run(request),
      workshop.backend.createEncrypted(request).then(({ uuid }) => uuid),
      workshop
        .another()
        .createEncrypted(request)
        .then(({ uuid }) => uuid),
      workshop
        .another()
        .probe(volume, "header")
        .then(({ kind }) => kind),
    ]);
    expect(answers.slice(0, 3)).toEqual(["done", request.uuid, request.uuid]);
    expect(["allocated", "luks"]).toContain(answers[3]);
    expect(workshop.devices()).toEqual([]);
  });
});

describe("a volume that is not active", () => {
  beforeEach(() => start("lvm"));

  it("is not active after a failure either", async () => {
    const { backend } = workshop;
    const header = await leavesInactive(backend.createEncrypted(request));
    using wrong = Secret.randomPassphrase();
    expect(await leavesInactive(codeOf(backend.testPassphrase(volume, wrong)))).toBe("PASSPHRASE_REJECTED");
    const rival = codeOf(backend.createEncrypted({ ...request, uuid: newKeyUuid() }));
    expect(await leavesInactive(rival)).toBe("LUKS_UUID_MISMATCH");
    const growing = { ...request, header, guest: "stopped" } as const;
    const shrunk = codeOf(backend.grow({ ...growing, guestSize: 512n }));
    expect(await leavesInactive(shrunk)).toBe("VOLUME_WOULD_SHRINK");
    const huge = codeOf(backend.grow({ ...growing, guestSize: 1n << 59n }));
    expect(await leavesInactive(huge)).toBe("VOLUME_GROW_FAILED");
  });

  it("stays active if somebody has come to use it meanwhile", async () => {
    let user: number | undefined;
    workshop.runner.before = ({ args }) => {
      if (args[1] === "n") user = openSync(volume.path, "r");
    };
    await workshop.backend.createEncrypted(request);
    if (user === undefined) throw new Error("nobody wanted to deactivate it");
    closeSync(user);
    expect(workshop.runner.count("lvchange --activate n")).toBe(1);
    expect(group.field("disk", "lv_active")).toBe("active");
  });

  it("is unreadable where the host's configuration forbids it", async () => {
    const path = "/etc/lvm/lvm.conf";
    const configuration = readFileSync(path, "utf8");
    writeFileSync(path, configuration.replace("activation {", 'activation { volume_list = [ "other" ]'));
    try {
      const probe = await leavesInactive(workshop.backend.probe(volume, "read"));
      expect(probe).toMatchObject({ kind: "unreadable" });
      expect(await leavesInactive(codeOf(workshop.backend.createEncrypted(request)))).toBe(
        "VOLUME_UNREADABLE",
      );
    } finally {
      writeFileSync(path, configuration);
    }
  });

  it("that was removed is absent", async () => {
    lvm("lvremove", "--quiet", "--yes", `${group.name}/disk`);
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "absent" });
    expect(await codeOf(workshop.backend.createEncrypted(request))).toBe("VOLUME_NOT_FOUND");
  });
});

describe("a thin volume that is not active, nor its pool,", () => {
  beforeEach(() => start("lvm-thin"));

  it("can be used in every way, and is not active afterwards", async () => {
    const { backend } = workshop;
    expect(workshop.devices()).toEqual([]);
    expect(await leavesInactive(Promise.resolve(backend.accepts(volume)))).toBe(true);
    expect(await leavesInactive(backend.probe(volume, "header"))).toEqual({ kind: "allocated" });
    expect(await leavesInactive(backend.probe(volume, "read"))).toEqual({ kind: "empty" });
    const header = await leavesInactive(backend.createEncrypted(request));
    expect(await leavesInactive(backend.createEncrypted(request))).toEqual(header);
    await leavesInactive(backend.testPassphrase(volume, request.passphrase));
    expect(await leavesInactive(backend.guestSize(volume, header))).toBe(BigInt(6 * MIB));
    const growing = { ...request, header, guestSize: BigInt(7 * MIB), guest: "stopped" } as const;
    expect(await leavesInactive(backend.grow(growing))).toBe(BigInt(10 * MIB));
    expect(await leavesInactive(backend.guestSize(volume, header))).toBe(BigInt(10 * MIB));
    expect(await leavesInactive(backend.probe(volume, "header"))).toEqual({ kind: "luks", header });
  });

  it("is active after a kill, and taken for active then", async () => {
    using elsewhere = new FormatProcess(workshop);
    let kills = 0;
    for (let step = 4; kills === 0 || workshop.devices().length === 0; step++) {
      if ((await elsewhere.run(request, { killedBefore: step })) === "killed") kills++;
    }
    const devices = workshop.devices();
    await workshop.backend.createEncrypted(request);
    expect(workshop.devices()).toEqual(devices);
    expect(workshop.runner.count("lvchange")).toBe(0);
  });

  it("is activated though LVM was told to skip it", async () => {
    lvm("lvchange", "--setactivationskip", "y", `${group.name}/disk`);
    expect(await leavesInactive(workshop.backend.probe(volume, "read"))).toEqual({ kind: "empty" });
  });
});

it("a volume that is active is used without any command of LVM's that could change it", async () => {
  start("lvm");
  lvm("vgchange", "--quiet", "--activate", "y", group.name);
  const { backend, runner } = workshop;
  const before = workshop.devices();

  await backend.probe(volume, "header");
  expect(runner.commands).toEqual([]);
  const header = await backend.createEncrypted(request);
  await backend.testPassphrase(volume, request.passphrase);
  await backend.guestSize(volume, header);

  expect(runner.lines.filter((line) => line.startsWith("lv"))).toEqual([
    `lvs --reportformat json --units b --nosuffix -o lv_name -S origin="disk" -- ${group.name}`,
  ]);
  expect(workshop.devices()).toEqual(before);
});

it("a volume on a disk that is missing is unreadable, and the reason is LVM's", async () => {
  start("lvm");
  using broken = new VolumeGroup();
  await using other = new LvmWorkshop(broken, "lvm");
  const { backend } = other;
  {
    using disk = new LoopDevice(64 * MIB);
    lvm("vgextend", "--quiet", broken.name, disk.path);
    lvm("lvcreate", "--quiet", "--yes", "--size=8m", "--name=disk", broken.name, disk.path);
    broken.deactivate();
  }
  expect(await backend.accepts(other.volume("disk"))).toBe(true);
  expect(await backend.probe(other.volume("disk"), "read")).toEqual({
    kind: "unreadable",
    reason: expect.stringMatching(/^LVM cannot activate it: Refusing activation of partial LV/) as string,
  });
  expect(other.devices()).toEqual([]);
  lvm("vgreduce", "--quiet", "--yes", "--removemissing", "--force", broken.name);
});
