import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { claimedLuksUuid } from "../../../src/encryption/luks-header.js";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { VolumeFile } from "../../../src/storage/volume-file.js";
import { DmDevice } from "../../lab/device-mapper.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { type BlockVolume, type Device, DeviceWorkshop } from "../device-workshop.js";
import { FormatProcess } from "../format-elsewhere.js";
import { guestSizeByQemu, qemuIo, run } from "../qemu.js";
import { MIB, SPEC } from "../workshop.js";

const SIZE = 8 * MIB;
const PAYLOAD_OFFSET = 2 * MIB;
const HEADER = { offset: 0, size: 4096 };
const KEY_MATERIAL = { offset: 4096, size: 64 * 4000 };
/** Whole pages, as the kernel writes. */
const HALF = 31 * 4096;

let workshop: DeviceWorkshop;
let volume: BlockVolume;
let device: Device;
let request: FormatRequest;
const openers: ChildProcess[] = [];

beforeEach(() => {
  workshop = new DeviceWorkshop();
  volume = workshop.makeEmpty("disk", SIZE);
  device = workshop.device(volume);
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
});
afterEach(async () => {
  for (const child of openers.splice(0)) {
    child.kill("SIGKILL");
    await once(child, "close");
  }
  request.passphrase.dispose();
  await workshop[Symbol.asyncDispose]();
});

const create = (changed: Partial<FormatRequest> = {}) =>
  workshop.backend.createEncrypted({ ...request, ...changed });

async function failureOf(work: Promise<unknown>): Promise<LuksmithError> {
  const thrown = await work.then(
    () => new Error("it succeeded"),
    (error: unknown) => error,
  );
  if (thrown instanceof LuksmithError) return thrown;
  throw thrown;
}

/** Asserts that formatting is refused, and that not a byte of the medium changes. */
async function expectRefusal(code: ErrorCode, why?: RegExp, medium: Device = device): Promise<void> {
  const before = digest(medium.content());
  const error = await failureOf(create());
  expect(error).toMatchObject({ code });
  if (why !== undefined) expect(error.why).toMatch(why);
  expect(digest(medium.content())).toBe(before);
}

async function expectFormatted(): Promise<void> {
  const header = await create();
  qemuIo(
    workshop.backend.qemuNode(volume, "key"),
    ["write -P 7 0 512", "read -P 7 0 512"],
    request.passphrase,
  );
  expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "luks", header });
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What is on the medium while the device shows something else. */
function putData(): void {
  device.writeContent(0, Buffer.alloc(MIB, 0xa5));
}

/** Does something when the device's cache is dropped for the n-th time: 2 for the proof, one after each piece written. */
function atDroppedCache(number: number, work: () => void): void {
  let count = 0;
  workshop.runner.before = ({ tool }) => {
    if (tool === "blockdev" && ++count === number) work();
  };
}
const HEADER_WRITTEN = 3;
const ALL_WRITTEN = 4;

const failingWrites = (size: number, path: string, offset = 0) =>
  ({ kind: "flakey", size, device: path, offset, up: 0, down: 1000, features: ["error_writes"] }) as const;

describe("a device that vanishes", () => {
  it("after it was probed", async () => {
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
    workshop.remove(volume);
    await expectRefusal("VOLUME_NOT_FOUND");
  });

  it.each([HEADER_WRITTEN, ALL_WRITTEN])("and comes back when it was being written (%i)", async (moment) => {
    atDroppedCache(moment, () => device.become({ kind: "error", size: SIZE }));
    expect(["VOLUME_UNREADABLE", "VOLUME_WRITE_FAILED"]).toContain((await failureOf(create())).code);
    device.heal();
    expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
    await expectFormatted();
  });
});

describe("a device that reads zeros for a moment", () => {
  beforeEach(() => {
    putData();
    device.become({ kind: "zero", size: SIZE });
  });

  it("is not formatted when it comes back while the header is made", async () => {
    workshop.runner.before = ({ args }) => {
      if (args[0] === "luksFormat") device.heal();
    };
    await expectRefusal("VOLUME_NOT_EMPTY");
  });

  it("keeps its bytes when it comes back while it is written", async () => {
    atDroppedCache(HEADER_WRITTEN, () => device.heal());
    await expectRefusal("VOLUME_WRITE_FAILED", /not what is read back/);
  });

  it("keeps its bytes when it comes back after it has refused to be written", async () => {
    using zeros = new DmDevice({ kind: "zero", size: SIZE });
    device.become(failingWrites(SIZE, zeros.path));
    const sync = Reflect.get(VolumeFile.prototype, "sync");
    using spy = vi.spyOn(VolumeFile.prototype, "sync").mockImplementationOnce(async function (
      this: VolumeFile,
    ) {
      try {
        await sync.call(this);
      } finally {
        device.heal();
      }
    });
    await expectRefusal("VOLUME_WRITE_FAILED", /i\/o error/);
    expect(spy).toHaveBeenCalled();
  });

  it("is not formatted when it reads zeros for ever", async () => {
    await expectRefusal("VOLUME_WRITE_FAILED", /not what is read back/);
  });
});

describe("a device that forgets", () => {
  it("all that is written", async () => {
    device.become({ ...failingWrites(SIZE, device.underlying), features: ["drop_writes"] });
    await expectRefusal("VOLUME_WRITE_FAILED", /not what is read back/);
  });

  it("the key material", async () => {
    device.become(
      { kind: "linear", size: HEADER.size, device: device.underlying },
      { ...failingWrites(SIZE - HEADER.size, device.underlying, HEADER.size), features: ["drop_writes"] },
    );
    await expectRefusal("VOLUME_WRITE_FAILED", /not what is read back/);
  });
});

describe("a device that fails", () => {
  it("to read one sector in the middle", async () => {
    const half = SIZE / 2;
    device.become(
      { kind: "linear", size: half, device: device.underlying },
      { kind: "error", size: 512 },
      { kind: "linear", size: half - 512, device: device.underlying, offset: half + 512 },
    );
    expect(await workshop.backend.probe(volume, "read")).toMatchObject({ kind: "unreadable" });
    await expectRefusal("VOLUME_UNREADABLE");
  });

  it("to write its header", async () => {
    failWrites(HEADER);
    await expectRefusal("VOLUME_WRITE_FAILED");
    device.heal();
    await expectFormatted();
  });

  it.each([
    ["first", { offset: KEY_MATERIAL.offset, size: HALF }],
    ["second", { offset: KEY_MATERIAL.offset + HALF, size: KEY_MATERIAL.size - HALF }],
  ])("to write the %s half of its key material, and leaves nothing but its header", async (_half, part) => {
    failWrites(part);
    expect(await failureOf(create())).toMatchObject({ code: "VOLUME_WRITE_FAILED" });
    expect(claimedLuksUuid(device.content())).toBe(request.uuid);
    expect(
      device
        .content()
        .subarray(HEADER.size)
        .every((byte) => byte === 0),
    ).toBe(true);
    device.heal();
    await expectFormatted();
  });

  function failWrites({ offset, size }: { readonly offset: number; readonly size: number }): void {
    const { underlying } = device;
    const end = offset + size;
    device.become(
      ...(offset === 0 ? [] : [{ kind: "linear", size: offset, device: underlying } as const]),
      failingWrites(size, underlying, offset),
      { kind: "linear", size: SIZE - end, device: underlying, offset: end },
    );
  }

  it("to flush, though it takes all that is written", async () => {
    const { underlying } = device;
    const rest = SIZE - 512;
    device.become({ kind: "linear", size: rest, device: underlying }, failingWrites(512, underlying, rest));
    expect(await failureOf(create())).toMatchObject({ code: "VOLUME_WRITE_FAILED" });
    device.heal();
    await expectFormatted();
  });

  it("to be writable at all", async () => {
    run("blockdev", ["--setro", device.path]);
    await expectRefusal("VOLUME_WRITE_FAILED");
  });
});

it("formats a device that answers late", async () => {
  device.become({ kind: "delay", size: SIZE, device: device.underlying, read: 20, write: 100 });
  await expectFormatted();
});

describe("sizes", () => {
  function useDeviceOf(size: number): void {
    volume = workshop.makeEmpty(`disk of ${size}`, size);
    device = workshop.device(volume);
    request = { ...request, volume };
  }

  it.each([512, 4096, PAYLOAD_OFFSET])("refuses a device of %i bytes", async (size) => {
    useDeviceOf(size);
    await expectRefusal("VOLUME_TOO_SMALL");
  });

  it("formats a device with one sector behind the header", async () => {
    useDeviceOf(PAYLOAD_OFFSET + 512);
    await expectFormatted();
    expect(guestSizeByQemu(workshop.backend.qemuNode(volume, "key"), request.passphrase)).toBe(512n);
  });

  it("counts in bytes where the sectors have 4096", async () => {
    using large = new LoopDevice(SIZE);
    run("losetup", ["--sector-size", "4096", large.path]);
    volume = { ...volume, path: large.path };
    request = { ...request, volume };
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
    const header = await create();
    const node = workshop.backend.qemuNode(volume, "key");
    const seen = SIZE - PAYLOAD_OFFSET;
    const direct = { driver: "host_device", filename: volume.path, cache: { direct: true } };
    for (const way of [node, { ...node, file: direct }]) {
      qemuIo(way, [`write -P 7 ${seen - 512} 512`, `read -P 7 ${seen - 512} 512`], request.passphrase);
    }
    expect(await workshop.backend.guestSize(volume, header)).toBe(BigInt(seen));
    expect(guestSizeByQemu(node, request.passphrase)).toBe(BigInt(seen));
    expect(await create()).toEqual(header);
  });
});

describe("a device in use", () => {
  it("by a file system that is mounted", async () => {
    run("mkfs.ext4", ["-q", device.path]);
    const point = mkdtempSync(join(tmpdir(), "luksmith-mount-"));
    run("mount", [device.path, point]);
    const error = await failureOf(create());
    run("umount", [point]);
    rmSync(point, { recursive: true });
    expect(error).toMatchObject({ code: "VOLUME_BUSY", why: expect.stringMatching(/mounted/) as string });
  });

  it("by another device that it is a part of, though it is empty", async () => {
    using whole = new DmDevice({ kind: "linear", size: SIZE, device: device.path });
    expect(statSync(whole.path).isBlockDevice()).toBe(true);
    await expectRefusal("VOLUME_BUSY", /part of another device/);
  });

  it("by a process that writes through another node, in a mount namespace of its own", async () => {
    const { pid } = await openElsewhere(device.path, "<>");
    await expectRefusal("VOLUME_BUSY", new RegExp(`^process ${pid} \\(sleep\\) has it open for writing$`));
  });

  it("by a process that opens it for writing while it is proven empty", async () => {
    workshop.runner.before = async ({ args }) => {
      if (args[0] === "luksFormat") await openElsewhere(device.path, "<>");
    };
    await expectRefusal("VOLUME_BUSY", /sleep/);
  });

  it("by a process that only reads it is formatted", async () => {
    const { child } = await openElsewhere(device.path, "<");
    await expectFormatted();
    expect(child.exitCode).toBeNull();
  });
});

/** A process that has a device open, by a node that it has made where nobody else sees it. */
async function openElsewhere(path: string, redirection: "<" | "<>") {
  const { rdev } = statSync(path);
  const node = `mount -t tmpfs none /mnt && mknod /mnt/disk b ${rdev >> 8} ${rdev & 0xff}`;
  const script = `${node} && exec 9${redirection}/mnt/disk && echo $$ && exec sleep 600`;
  // no child of ours, which would be taken for a part of this process
  const child = spawn("unshare", ["--mount", "--fork", "--kill-child", "sh", "-c", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  openers.push(child);
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return { child, pid: Number(said.toString()) };
}

describe("two names of one device", () => {
  it("are formatted once, by two processes at the same time", async () => {
    const other = { ...volume, path: join(workshop.directory, "other name") };
    symlinkSync(volume.path, other.path);
    using one = new FormatProcess(workshop);
    using two = new FormatProcess(workshop);
    const endings = await Promise.all([one.run(request), two.run({ ...request, volume: other })]);
    expect(endings).toEqual(["done", "done"]);
    await expectFormatted();
    rmSync(other.path);
  });
});

describe("refuses, names and leaves alone what is on it:", () => {
  const sfdisk = (label: "dos" | "gpt") => () =>
    execFileSync("sfdisk", ["-q", device.path], { input: `label: ${label}\n,4M\n`, stdio: "pipe" });
  const luksFormat = (...type: string[]) =>
    execFileSync(
      "cryptsetup",
      ["luksFormat", "-q", ...type, "--pbkdf-force-iterations", "1000", device.path, "-"],
      { input: "x" },
    );

  it.each<[string, ErrorCode, RegExp, () => void]>([
    ["an MBR partition table", "VOLUME_NOT_EMPTY", /MBR partition table/, sfdisk("dos")],
    ["a GPT partition table", "VOLUME_NOT_EMPTY", /GPT partition table/, sfdisk("gpt")],
    ["an LVM physical volume", "VOLUME_NOT_EMPTY", /LVM2_member/, () => run("pvcreate", ["-q", device.path])],
    ["an LVM label alone", "VOLUME_NOT_EMPTY", /LVM2_member/, leaveLvmLabelAlone],
    [
      "an ext4 file system",
      "VOLUME_NOT_EMPTY",
      /ext4 file system/,
      () => run("mkfs.ext4", ["-q", device.path]),
    ],
    ["swap", "VOLUME_NOT_EMPTY", /swap/, () => run("mkswap", [device.path])],
    ["another LUKS1 header", "LUKS_UUID_MISMATCH", /another key/, () => luksFormat("--type", "luks1")],
    [
      "another LUKS2 header",
      "LUKS_UUID_MISMATCH",
      /another key/,
      () => luksFormat("--type", "luks2", "--pbkdf", "pbkdf2", "--luks2-keyslots-size", "512k"),
    ],
  ])("%s", async (_what, code, why, put) => {
    put();
    await expectRefusal(code, why);
    expect(["data", "luks", "bad-luks"]).toContain((await workshop.backend.probe(volume, "read")).kind);
  });

  /** As `dd` leaves it that wiped the first sector, or a physical volume whose metadata is elsewhere. */
  function leaveLvmLabelAlone(): void {
    run("pvcreate", ["-q", device.path]);
    const label = device.content().subarray(512, 1024);
    expect(label.toString("latin1", 0, 8)).toBe("LABELONE");
    device.writeContent(0, Buffer.alloc(SIZE));
    device.writeContent(512, label);
  }
});

describe("a partition", () => {
  it("is formatted, and the rest of its disk is as it was, and refused", async () => {
    using disk = new LoopDevice(SIZE);
    execFileSync("sfdisk", ["-q", disk.path], { input: "label: dos\nstart=2048,size=8192\n", stdio: "pipe" });
    const around = () => {
      const bytes = readFileSync(disk.file);
      return [digest(bytes.subarray(0, MIB)), digest(bytes.subarray(5 * MIB))];
    };
    const before = around();
    using partition = new PartitionedLoop(disk.file);
    volume = { ...volume, path: `${partition.path}p1` };
    request = { ...request, volume };
    const header = await create();
    qemuIo(workshop.backend.qemuNode(volume, "key"), ["write -P 7 0 2M"], request.passphrase);
    expect(await workshop.backend.guestSize(volume, header)).toBe(BigInt(2 * MIB));
    expect(around()).toEqual(before);
    const whole = { ...request, volume: { ...volume, path: partition.path } };
    expect(await failureOf(create(whole))).toMatchObject({ code: "VOLUME_NOT_EMPTY" });
  });
});

/** A loop device whose partitions have devices. */
class PartitionedLoop implements Disposable {
  readonly path: string;

  constructor(file: string) {
    this.path = run("losetup", ["--partscan", "--find", "--show", file]).trim();
  }

  [Symbol.dispose](): void {
    run("losetup", ["--detach", this.path]);
  }
}
