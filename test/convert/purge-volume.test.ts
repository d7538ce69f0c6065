import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { notedOld } from "../../src/convert/old-content.js";
import { purgeVolume } from "../../src/convert/purge-volume.js";
import { identityAt } from "../../src/convert/volume-identity.js";
import type { ConversionNote } from "../../src/generated/conversion-note.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { FakeLvm } from "../fake/fake-lvm.js";
import { LoopDevice } from "../lab/loop-device.js";
import { ConvertWorld, digestOf } from "./convert-world.js";

const MIB = 1024 * 1024;
const GUEST = { id: "11111111-2222-4333-8444-555555555555" };

let world: ConvertWorld;
beforeEach(async () => {
  world = new ConvertWorld("raw");
  writeFileSync(world.volume.path, randomBytes(MIB));
  truncateSync(world.volume.path, 64 * MIB);
  await world.convert("encrypted");
});
afterEach(() => world[Symbol.dispose]());

const old = () => world.volume.path;

function note(): ConversionNote {
  const [found] = world.notes.of(GUEST);
  if (found === undefined) throw new Error("nothing was noted");
  return found;
}

const purge = (manner: "remove" | "wipe and remove" = "remove") =>
  world.failure(purgeVolume(note(), manner, world.purgePorts()));

describe("the old volume of a disk that was converted", () => {
  test("is removed, and forgotten; its key and the new volume stay", async () => {
    expect(await purge()).toBe("none");
    expect(existsSync(old())).toBe(false);
    expect(existsSync(await world.path())).toBe(true);
    expect(await world.keystore.list()).toHaveLength(1);
    expect(world.notes.of(GUEST)).toEqual([]);
  });

  test("is overwritten first where that is asked for, its holes not", async () => {
    const data = readFileSync(old()).subarray(0, MIB);
    linkSync(old(), world.at("other-name"));
    expect(await purge("wipe and remove")).toBe("none");

    const left = readFileSync(world.at("other-name"));
    expect(left.subarray(0, MIB).equals(data)).toBe(false);
    expect(left.subarray(0, MIB).every((byte) => byte === 0)).toBe(false);
    expect(left.subarray(2 * MIB).every((byte) => byte === 0)).toBe(true);
    const recorded = world.audit.uses.filter(({ event }) => event === "purge");
    expect(recorded.map(({ detail }) => detail)).toEqual([
      "removal begins, which was not encrypted",
      "overwritten and removed, which was not encrypted",
    ]);
  });

  test("is removed by a further call when overwriting it was cut short", async () => {
    const { percent } = world;
    world.percent = () => {
      throw new Error("power is gone");
    };
    expect(await purge("wipe and remove")).toMatch("power is gone");
    expect(existsSync(old())).toBe(true);
    world.percent = percent;
    expect(await purge()).toBe("none");
    expect(existsSync(old())).toBe(false);
  });

  test("is a device that is overwritten, and only while it is the same one", async () => {
    rmSync(old());
    using loop = new LoopDevice(8 * MIB);
    writeFileSync(loop.file, randomBytes(8 * MIB));
    noteDevice(loop.path, await identityAt(loop.path), note().old.digest);
    expect(await purge("wipe and remove")).toBe("VOLUME_NOT_EMPTY");
    noteDevice(loop.path, await identityAt(loop.path), undefined);
    expect(await purge("wipe and remove")).toBe("VOLUME_NOT_EMPTY");
    noteDevice(loop.path, "device 1792", undefined);
    expect(await purge("wipe and remove")).toBe("VOLUME_UNREADABLE");

    const before = readFileSync(loop.file);
    noteDevice(loop.path, await identityAt(loop.path), await digestOfDevice(loop.path));
    const identity = note().old.identity;
    // as after a restart: the same name, another disk
    execFileSync("losetup", ["--detach", loop.path]);
    execFileSync("losetup", [loop.path, loop.file]);
    expect(await purge("wipe and remove")).toBe("VOLUME_UNREADABLE");
    expect(readFileSync(loop.file).equals(before)).toBe(true);

    noteDevice(loop.path, await identityAt(loop.path), note().old.digest);
    expect(note().old.identity).not.toBe(identity);
    expect(await purge()).toBe("VOLUME_UNSUPPORTED");
    expect(await purge("wipe and remove")).toBe("none");
    execFileSync("blockdev", ["--flushbufs", loop.path]);
    expect(readFileSync(loop.file).subarray(0, MIB).equals(before.subarray(0, MIB))).toBe(false);
    expect(world.notes.of(GUEST)).toEqual([]);
  });

  test("that is gone is forgotten", async () => {
    rmSync(old());
    expect(await purge()).toBe("none");
    expect(world.notes.of(GUEST)).toEqual([]);
  });

  test("that is on a share which is not mounted is not gone", async () => {
    const [fstab, mountinfo] = [world.at("fstab"), world.at("mountinfo")];
    writeFileSync(fstab, `server:/images ${dirname(old())} nfs defaults 0 0\n`);
    writeFileSync(mountinfo, "");
    rmSync(old());
    const ports = { ...world.purgePorts(), mounts: { fstab, mountinfo } };
    expect(await world.failure(purgeVolume(note(), "remove", ports))).toBe("VOLUME_UNREADABLE");
    expect(world.notes.of(GUEST)).toHaveLength(1);
  });

  test("that LVM does not answer for is not gone", async () => {
    const kept = { ...note(), old: { kind: "block", path: "/dev/away/vm1", format: "raw" } } as const;
    world.notes.write(kept);
    const runner = new FakeLvm({ lvs: [{ exitCode: 5, stderr: "  Cannot process volume group away" }] });
    const ports = { ...world.purgePorts(), runner };
    expect(await world.failure(purgeVolume(kept, "remove", ports))).toBe("VOLUME_UNREADABLE");
    expect(world.notes.of(GUEST)).toContainEqual(kept);
  });

  test("goes after a second conversion too", async () => {
    const first = note();
    await world.convert("plain");
    expect(await world.failure(purgeVolume(first, "remove", world.purgePorts()))).toBe("none");
    expect(existsSync(old())).toBe(false);
    expect(world.notes.of(GUEST)).toHaveLength(1);
  });
});

describe("after the new volume was decrypted in place", () => {
  const decrypt = () => {
    world.host.xml = world.host.xml.replace(/<encryption.*<\/encryption>/s, "");
  };

  test("it is removed", async () => {
    decrypt();
    writeFileSync(await world.path(), randomBytes(MIB));
    expect(await purge()).toBe("none");
    expect(existsSync(old())).toBe(false);
  });

  test("it stays where only the configuration says so, or where the new volume is another one", async () => {
    decrypt();
    expect(await purge()).toBe("VOLUME_UNREADABLE");
    const path = await world.path();
    writeFileSync(world.at("vm/other"), randomBytes(MIB));
    renameSync(world.at("vm/other"), path);
    expect(await purge()).toBe("VOLUME_BUSY");
    expect(existsSync(old())).toBe(true);
  });
});

describe("it stays", () => {
  afterEach(() => {
    expect(existsSync(old())).toBe(true);
    expect(world.notes.of(GUEST)).toHaveLength(1);
  });

  test("where the disk has it again", async () => {
    const { xml } = world.host;
    world.host.xml = xml.replace("web1.luks.raw", "web1.raw").replace(/<encryption.*<\/encryption>/s, "");
    expect(await purge()).toBe("VOLUME_BUSY");
  });

  test("where another disk has it, by whatever path", async () => {
    linkSync(old(), world.at("vm/link.raw"));
    const other = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${world.at("vm/link.raw")}'/><target dev='vdb' bus='virtio'/></disk>`;
    world.host.xml = world.host.xml.replace("</devices>", `${other}</devices>`);
    expect(await purge()).toBe("VOLUME_BUSY");
  });

  test("where another disk is opened with its key, since it may be the same volume by another name", async () => {
    const key = newKeyUuid();
    world.notes.write({ ...note(), old: { ...note().old, key } });
    const other = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/other.raw'><encryption format='luks'><secret type='passphrase' uuid='${key}'/></encryption></source><target dev='vdb' bus='virtio'/></disk>`;
    world.host.xml = world.host.xml.replace("</devices>", `${other}</devices>`);
    await expect(purgeVolume(note(), "remove", world.purgePorts())).rejects.toMatchObject({
      code: "VOLUME_BUSY",
      why: "disk vdb of guest web1 is opened with its key",
      hint: expect.stringContaining(
        "remove this one with its storage's own tools, and purge again",
      ) as string,
    });
  });

  test("where an overlay lies over it", async () => {
    const overlay = world.at("vm/overlay.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "web1.raw", overlay]);
    const other = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${overlay}'/><target dev='vdb' bus='virtio'/></disk>`;
    world.host.xml = world.host.xml.replace("</devices>", `${other}</devices>`);
    await expect(purgeVolume(note(), "remove", world.purgePorts())).rejects.toMatchObject({
      code: "VOLUME_BUSY",
      why: "disk vdb of guest web1 is an overlay over it",
      hint: expect.stringContaining(`give ${overlay} the data of its backing file first`) as string,
    });
  });

  test("where somebody has it open for writing", async () => {
    const holder = await world.runner.hold({ tool: "qemu-io", args: ["-f", "raw", "--", old()] });
    if (holder.kind !== "held") throw new Error(holder.stderr);
    await using held = holder;
    expect(held.isRunning).toBe(true);
    await expect(purgeVolume(note(), "remove", world.purgePorts())).rejects.toMatchObject({
      code: "VOLUME_BUSY",
      message: `cannot remove volume ${old()}`,
      why: "a QEMU process has it open",
      hint: "stop the guest, the block job or the program that uses it",
    });
  });

  test("where a program that takes no locks has it open for writing", async () => {
    // not our own child, which would be one of our tools
    const script = 'sleep 600 1<>"$1" 2>&1 & echo $!';
    const stdout = execFileSync("sh", ["-c", script, "sh", old()], { encoding: "utf8" });
    const pid = Number(stdout);
    try {
      for (const manner of ["remove", "wipe and remove"] as const)
        await expect(purgeVolume(note(), manner, world.purgePorts())).rejects.toMatchObject({
          code: "VOLUME_BUSY",
          why: `process ${pid} (sleep) has it open`,
        });
    } finally {
      process.kill(pid);
    }
  });

  test("where a loop device is made of it, which may be mounted", async () => {
    const loop = execFileSync("losetup", ["--find", "--show", old()], { encoding: "utf8" }).trim();
    try {
      for (const manner of ["remove", "wipe and remove"] as const)
        await expect(purgeVolume(note(), manner, world.purgePorts())).rejects.toMatchObject({
          code: "VOLUME_BUSY",
          why: `loop device ${loop.replace("/dev/", "")} is made of it`,
        });
    } finally {
      execFileSync("losetup", ["--detach", loop]);
    }
  });

  test("where it is another volume of that name", async () => {
    copyFileSync(old(), world.at("vm/copy"));
    renameSync(world.at("vm/copy"), old());
    expect(await purge("wipe and remove")).toBe("VOLUME_UNREADABLE");
  });

  test.each([0, 32, 64])("where it was written since, at %i MiB", async (at) => {
    const fd = openSync(old(), "r+");
    writeSync(fd, randomBytes(512), 0, 512, Math.min(at * MIB, 64 * MIB - 512));
    closeSync(fd);
    const digest = digestOf(old());
    expect(await purge("wipe and remove")).toBe("VOLUME_NOT_EMPTY");
    expect(digestOf(old())).toBe(digest);
    expect(await purge()).toBe("VOLUME_NOT_EMPTY");
  });

  test.each<[string, () => Promise<void>]>([
    ["is gone", async () => rmSync(await world.path())],
    ["has lost its header", async () => writeFileSync(await world.path(), Buffer.alloc(MIB))],
  ])("where the new volume %s", async (_, damage) => {
    await damage();
    expect(await purge("wipe and remove")).toBe("VOLUME_UNREADABLE");
  });

  test("where the copy had not ended", async () => {
    world.notes.write({ ...note(), state: "copying" });
    expect(await purge()).toBe("VOLUME_BUSY");
  });
});

test("an encrypted old volume is removed only while it has the header of its key", async () => {
  const encrypted = await world.path();
  await world.convert("plain");
  const second = world.notes.of(GUEST).find((one) => one.old.path === encrypted);
  if (second === undefined) throw new Error("nothing was noted");
  expect(second.old.digest).toBeUndefined();
  const header = readFileSync(encrypted).subarray(0, 4096);
  const write = (bytes: Buffer) => {
    const fd = openSync(encrypted, "r+");
    writeSync(fd, bytes, 0, bytes.length, 0);
    closeSync(fd);
  };
  write(randomBytes(4096));
  const again = () => world.failure(purgeVolume(second, "remove", world.purgePorts()));
  expect(await again()).toBe("VOLUME_NOT_EMPTY");
  expect(existsSync(encrypted)).toBe(true);
  write(header);
  expect(await again()).toBe("none");
  expect(existsSync(encrypted)).toBe(false);
});

/** The old volume as if it had been a device. */
function noteDevice(path: string, identity: string | undefined, digest: string | undefined): void {
  const { old: was, ...rest } = note();
  world.notes.forget({ ...rest, old: was });
  world.notes.write({
    ...rest,
    old: {
      ...{ kind: "block", path, format: "raw" },
      ...(identity !== undefined && { identity }),
      ...(digest !== undefined && { digest }),
    },
  });
}

/** As it is noted when a copy is verified. */
async function digestOfDevice(path: string): Promise<string | undefined> {
  const volume = { kind: "block", path, format: "raw" } as const;
  return (await notedOld({ volume, key: undefined, lv: undefined }, "verified", world.runner)).digest;
}
