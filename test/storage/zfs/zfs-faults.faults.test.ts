import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LuksHeader } from "../../../src/encryption/luks-header.js";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { createStorageRegistry } from "../../../src/storage/index.js";
import { allocatesEncrypted, canAllocate, type FormatRequest } from "../../../src/storage/storage-backend.js";
import type { BlockVolume } from "../device-workshop.js";
import { run } from "../qemu.js";
import { MIB, SPEC } from "../workshop.js";
import { FakeZfs, ZvolWorkshop } from "./zvol-workshop.js";

let zfs: FakeZfs;
let workshop: ZvolWorkshop;
let volume: BlockVolume;
let request: FormatRequest;

beforeAll(() => {
  zfs = new FakeZfs();
});
afterAll(() => zfs[Symbol.dispose]());
beforeEach(() => {
  workshop = new ZvolWorkshop(zfs);
  volume = workshop.makeEmpty("disk 1");
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
});
afterEach(async () => {
  zfs.heal();
  request.passphrase.dispose();
  await workshop[Symbol.asyncDispose]();
});

async function expectRefusal(
  work: () => Promise<unknown>,
  error: { readonly code: ErrorCode; readonly why?: RegExp; readonly hint?: RegExp },
): Promise<void> {
  const before = workshop.state();
  const thrown = await work().catch((reason: unknown) => reason);
  expect(thrown).toBeInstanceOf(LuksmithError);
  const { code, why = "", hint = "" } = thrown as LuksmithError;
  expect(code).toBe(error.code);
  expect(why).toMatch(error.why ?? /^/);
  expect(hint).toMatch(error.hint ?? /^/);
  expect(workshop.state()).toEqual(before);
}

const create = () => workshop.backend.createEncrypted(request);
const nameOf = ({ path }: BlockVolume) => path.replace("/dev/zvol/", "").replaceAll("+", " ");

describe("a zvol is not formatted", () => {
  it("while it has snapshots, though it is empty", async () => {
    const name = nameOf(volume);
    workshop.setProperty(volume, "snapshots", `${name}@before\n${name}@after a while\n`);
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "data", signature: "2 snapshots" });
    await expectRefusal(create, { code: "VOLUME_NOT_EMPTY", why: /^it holds 2 snapshots$/ });
  });

  it("while it is a clone", async () => {
    workshop.setProperty(volume, "origin", "tank/gold@1");
    await expectRefusal(create, { code: "VOLUME_NOT_EMPTY", why: /clone of tank\/gold@1/ });
  });

  it.each(["list", "get"])("when zfs %s fails", async (subcommand) => {
    const message = `cannot open '${nameOf(volume)}': pool I/O is currently suspended`;
    zfs.fail(subcommand, message);
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "unreadable", reason: message });
    await expectRefusal(create, { code: "VOLUME_UNREADABLE", why: /suspended/ });
  });

  it("when zfs does not answer", async () => {
    workshop.runner.before = ({ tool }) => {
      if (tool === "zfs") throw new LuksmithError("TOOL_TIMEOUT", { what: "zfs did not finish" });
    };
    expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "unreadable" });
    await expectRefusal(create, { code: "TOOL_TIMEOUT" });
  });

  it("when there is no zfs tool", async () => {
    zfs.uninstall();
    await expectRefusal(create, { code: "TOOL_MISSING", hint: /zfsutils-linux/ });
  });

  it("when ZFS forbids to write it", async () => {
    run("blockdev", ["--setro", workshop.device(volume).path]);
    workshop.setProperty(volume, "readonly", "on");
    await expectRefusal(create, { code: "VOLUME_WRITE_FAILED", why: /property readonly is on/ });
  });

  it("when its device went with its volmode", async () => {
    rmSync(volume.path);
    workshop.setProperty(volume, "volmode", "none");
    await expectRefusal(create, { code: "VOLUME_UNREADABLE", hint: /^zfs set volmode=dev 'tank\/.* 1'$/ });
  });
});

describe("a zvol does not grow", () => {
  let header: LuksHeader;
  beforeEach(async () => {
    header = await create();
  });
  const grow = () =>
    workshop.backend.grow({ ...request, header, guestSize: BigInt(7 * MIB), guest: "stopped" });

  it.each([
    "out of space",
    "size is greater than available space",
    "dataset is read-only",
    "permission denied",
  ])("when zfs says: %s", async (message) => {
    zfs.fail("set", `cannot set property for '${nameOf(volume)}': ${message}`);
    await expectRefusal(grow, { code: "VOLUME_GROW_FAILED", why: new RegExp(message) });
    expect(await workshop.backend.guestSize(volume, header)).toBe(BigInt(6 * MIB));
  });

  it("when zfs cannot tell its size", async () => {
    zfs.fail("get", `cannot open '${nameOf(volume)}': I/O error`);
    await expectRefusal(grow, { code: "VOLUME_UNREADABLE", why: /I\/O error/ });
  });

  it("when its name leads to another device than ZFS means", async () => {
    const other = workshop.makeEmpty("other", 5 * MIB);
    await workshop.backend.createEncrypted({ ...request, volume: other, uuid: newKeyUuid() });
    rmSync(volume.path);
    symlinkSync(workshop.device(other).path, volume.path);
    await expectRefusal(grow, { code: "VOLUME_GROW_FAILED", why: /8388608 bytes that ZFS says/ });
  });

  it("beyond what was asked, when it is asked again", async () => {
    expect(await grow()).toBe(BigInt(7 * MIB));
    workshop.runner.commands.length = 0;
    expect(await grow()).toBe(BigInt(7 * MIB));
    expect(workshop.runner.count("zfs set")).toBe(0);
  });
});

it("allocates a sparse volume, rounded up by zfs, that is then formatted", async () => {
  const { backend } = workshop;
  if (!canAllocate(backend)) throw new Error("it cannot allocate");
  workshop.remove(volume);
  expect(await backend.allocate({ volume, guestSize: BigInt(MIB + 1) })).toBe(BigInt(3 * MIB + 16384));
  expect(workshop.runner.lines.filter((line) => line.startsWith("zfs"))).toEqual([
    `zfs create -s -o volmode=dev -V ${3 * MIB + 1} ${nameOf(volume)}`,
    `zfs get -Hp -o property,value volsize,volblocksize ${nameOf(volume)}`,
  ]);
  const header = await create();
  expect(await backend.guestSize(volume, header)).toBe(BigInt(MIB + 16384));
  expect(await backend.extent?.(volume)).toBe(16384n);
});

it("leaves partitions of zvols to the storage backend for block devices", async () => {
  const image = join(workshop.root, "partitioned");
  writeFileSync(image, Buffer.alloc(4 * MIB));
  run("sh", ["-c", `printf 'label: dos\\n,\\n' | sfdisk -q ${image}`]);
  const loop = run("losetup", ["--partscan", "--find", "--show", image]).trim();
  const registry = createStorageRegistry(workshop.runner, workshop.settings);
  const named = (suffix: string, target: string) => {
    const path = `${volume.path}${suffix}`;
    symlinkSync(target, path);
    return registry.backendFor({ ...volume, path });
  };
  try {
    expect((await named("-part1", `${loop}p1`)).type).toBe("block");
    expect((await named("-part2", loop)).type).toBe("zfs");
    expect((await registry.backendFor(volume)).type).toBe("zfs");
    expect((await registry.backendFor({ ...volume, path: loop })).type).toBe("block");
  } finally {
    run("losetup", ["--detach", loop]);
  }
});

describe("a zvol that is made and encrypted at once", () => {
  const allocate = (wanted: BlockVolume) => {
    const { backend } = workshop;
    if (!allocatesEncrypted(backend)) throw new Error("it cannot");
    return backend.allocateEncrypted({ ...request, volume: wanted, guestSize: BigInt(4 * MIB) });
  };

  it("has its header", async () => {
    // its device is the next new volume's
    workshop.remove(volume);
    await allocate(volume);
    expect(await workshop.backend.probe(volume, "header")).toMatchObject({
      kind: "luks",
      header: { uuid: request.uuid },
    });
  });

  it("is not made where the name leads to another volume's device", async () => {
    const stale: BlockVolume = { ...volume, path: `${volume.path}-stale` };
    symlinkSync(volume.path, stale.path);
    await expectRefusal(() => allocate(stale), {
      code: "VOLUME_ALLOCATE_FAILED",
      why: /device of this name/,
    });
    rmSync(stale.path);
  });

  it.each([0, 2 * MIB - 512, 6 * MIB - 512])("is not formatted where byte %i is data", async (offset) => {
    workshop.writeData(volume, offset);
    workshop.remove(volume);
    const failure = await allocate(volume).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: "VOLUME_NOT_EMPTY" });
    expect(run("sh", ["-c", `! [ -e "${volume.path}" ] && echo gone`]).trim()).toBe("gone");
  });
});
