import { execa } from "execa";
import { statSync, truncateSync } from "node:fs";
import { truncate } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { QemuNode } from "../../src/storage/storage-backend.js";
import { treeOf } from "../fs/tree.js";
import { LoopDevice } from "../lab/loop-device.js";
import { guestSizeByQemu, qemuIo } from "../storage/qemu.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { sweep } from "./support/kill-sweep.js";
import { type ImageFormat, makeVolume, MIB } from "./support/volumes.js";

const host = hostForThisFile();

/** A guest with disks of these formats that have LUKS headers: of 6 MiB in raw files of 8, of 8 in qcow2. */
async function encrypted(...formats: ImageFormat[]): Promise<TestGuest> {
  const guest = await host().guest("web1", formats);
  await host().must("protect", "web1", "--now");
  return guest;
}

/** What the running guest's virtio device offers, as QEMU itself tells. */
async function sizeInQemu(guest: TestGuest, path: string): Promise<number> {
  const query = JSON.stringify({ execute: "query-block" });
  const answer = await host().libvirt.virsh("qemu-monitor-command", guest.uuid, query);
  interface Image {
    readonly filename: string;
    readonly "virtual-size": number;
  }
  const blocks = (JSON.parse(answer) as { return: { inserted?: { image: Image } }[] }).return;
  const images = blocks.flatMap(({ inserted }) => (inserted === undefined ? [] : [inserted.image]));
  return images.find(({ filename }) => filename.includes(path))!["virtual-size"];
}

/** A disk of a guest that is shut off, as QEMU opens it. */
async function opened(guest: TestGuest, index = 0) {
  const { dev, path, format } = guest.disks[index]!;
  const { passphrase } = await host().key((await host().blocks(guest))[dev]);
  const file = { driver: "file", filename: path };
  const node: QemuNode =
    format === "raw"
      ? { driver: "luks", "key-secret": "key", file }
      : { driver: "qcow2", encrypt: { format: "luks", "key-secret": "key" }, file };
  return {
    size: Number(guestSizeByQemu(node, passphrase)),
    io: (...commands: string[]) => qemuIo(node, commands, passphrase),
    [Symbol.dispose]: () => passphrase.dispose(),
  };
}

/** What QEMU gives whoever opens the encrypted volume. */
async function sizeWhenOpened(guest: TestGuest, index = 0): Promise<number> {
  using disk = await opened(guest, index);
  return disk.size;
}

describe("a disk of a guest that is shut off", () => {
  it("grows to the byte, and is as large at the next start", async () => {
    const guest = await encrypted("raw");
    const { path } = guest.disks[0]!;
    expect(await host().must("grow", "web1", "vda", String(10 * MIB + 512))).toBe(
      "web1: vda has grown from 6 MiB to 10486272 B\n",
    );
    expect(statSync(path).size).toBe(12 * MIB + 512);
    expect(await sizeWhenOpened(guest)).toBe(10 * MIB + 512);
    await host().start(guest);
    expect(await sizeInQemu(guest, path)).toBe(10 * MIB + 512);
    expect((await host().log()).map(({ message, steps }) => [message, steps])).toContainEqual([
      "grow done",
      ["grow"],
    ]);
  });

  it.each<[ImageFormat, number]>([
    ["raw", 6],
    ["qcow2", 8],
  ])("keeps what its guest has written, and has room for more: %s", async (format, mebibytes) => {
    const guest = await encrypted(format);
    const last = `${mebibytes * MIB - 65_536} 64k`;
    {
      using disk = await opened(guest);
      disk.io(`write -P 0x55 ${last}`);
    }
    await host().must("grow", "web1", "vda", "+4M");
    using disk = await opened(guest);
    expect(disk.size).toBe((mebibytes + 4) * MIB);
    disk.io(`read -P 0x55 ${last}`, `write -P 0x66 ${disk.size - 65_536} 64k`, `read -P 0x55 ${last}`);
  });

  it("has nothing to do when it is as large", async () => {
    await encrypted("raw");
    await host().must("grow", "web1", "vda", "10M");
    const before = treeOf(host().images);
    for (const size of [[], ["10M"]])
      expect(await host().must("grow", "web1", "vda", ...size)).toBe("web1: vda has 10 MiB already\n");
    expect(treeOf(host().images)).toEqual(before);
  });
});

describe("a disk of a guest that runs", () => {
  it.each<[ImageFormat, number]>([
    ["raw", 6],
    ["qcow2", 8],
  ])("grows to the byte under its guest: %s", async (format, mebibytes) => {
    const guest = await encrypted(format);
    const { path } = guest.disks[0]!;
    await host().start(guest);
    expect(await host().must("grow", "web1", "vda", "10486272")).toBe(
      `web1: vda has grown from ${mebibytes} MiB to 10486272 B\n`,
    );
    expect(await sizeInQemu(guest, path)).toBe(10_486_272);
    expect(await host().must("grow", "web1", "vda", "+512")).toContain("to 10241 KiB\n");
    expect(await sizeInQemu(guest, path)).toBe(10_486_784);
    await host().stop(guest);
    expect(await sizeWhenOpened(guest)).toBe(10_486_784);
    expect(await host().json("status", "web1")).toMatchObject({
      guests: [{ disks: [{ guestSize: 10_486_784 }] }],
    });
  });

  it("is the one that it runs with, whatever its definition says by now", async () => {
    const guest = await encrypted("raw");
    const { path } = guest.disks[0]!;
    await host().start(guest);
    const another = host().newPath("raw");
    await makeVolume(another, "raw");
    const definition = await host().definition(guest);
    await host().libvirt.define(
      definition.replace(path, another).replace(/<encryption.*?<\/encryption>/s, ""),
    );
    await host().must("grow", "web1", "vda", "10M");
    expect(await sizeInQemu(guest, path)).toBe(10 * MIB);
    expect(statSync(another).size).toBe(8 * MIB);
  });

  it("takes all that an administrator has added to its device", async () => {
    using device = new LoopDevice(8 * MIB);
    const devices = `<disk type='block' device='disk'><driver name='qemu' type='raw'/>
      <source dev='${device.path}'/><target dev='vda' bus='virtio'/></disk>`;
    const guest = await host().define({ name: "web1", disks: [], devices });
    await host().must("protect", "web1", "--now");
    await host().start(guest);
    expect(await host().must("grow", "web1", "vda")).toBe("web1: vda has 6 MiB already\n");
    const tooMuch = await host().refusedGrow("web1", "vda", "10M");
    expect(tooMuch).toMatchObject({ code: "VOLUME_GROW_FAILED" });

    truncateSync(device.file, 12 * MIB);
    await execa("losetup", ["--set-capacity", device.path]);
    expect(await sizeInQemu(guest, device.path)).toBe(6 * MIB);
    expect((await host().refusedGrow("web1", "vda", "9M")).code).toBe("VOLUME_WOULD_SHRINK");
    expect(await host().must("grow", "web1", "vda", "--dry-run")).toBe(
      `would enlarge disk vda on ${device.path} from 6 MiB to 10 MiB, and tell its guest, which runs\n`,
    );
    expect(await sizeInQemu(guest, device.path)).toBe(6 * MIB);
    expect(await host().must("grow", "web1", "vda")).toBe("web1: vda has grown from 6 MiB to 10 MiB\n");
    expect(await sizeInQemu(guest, device.path)).toBe(10 * MIB);
    await host().stop(guest);
  });
});

describe("grow can be killed at any call, and the next one finishes", () => {
  const finished = async (guest: TestGuest, when: string) => {
    const { exitCode, stderr } = await host().luksmith("grow", "web1", "vda", "10M");
    expect({ exitCode, stderr }, when).toEqual({ exitCode: 0, stderr: "" });
    expect(statSync(guest.disks[0]!.path).size, when).toBe(12 * MIB);
  };

  it("for a guest that is shut off", { timeout: 120_000 }, async () => {
    const guest = await encrypted("raw");
    await sweep({
      ...{ host: host(), guest, kills: 6 },
      process: { argv: host().command("grow", "web1", "vda", "10M") },
      reset: () => truncate(guest.disks[0]!.path, 8 * MIB),
      goOn: (when) => finished(guest, when),
    });
    expect(await sizeWhenOpened(guest)).toBe(10 * MIB);
  });

  it("for a guest that runs", { timeout: 120_000 }, async () => {
    const guest = await encrypted("raw");
    const { path } = guest.disks[0]!;
    await host().start(guest);
    await sweep({
      ...{ host: host(), guest, kills: 6 },
      process: { argv: host().command("grow", "web1", "vda", "10M") },
      reset: async () => {
        // what Luksmith never does: its firmware does not mind
        await host().libvirt.virsh("blockresize", guest.uuid, "vda", `${6 * MIB}B`);
      },
      goOn: async (when) => {
        await finished(guest, when);
        expect(await sizeInQemu(guest, path), when).toBe(10 * MIB);
      },
    });
  });
});

describe("grow refuses, and changes nothing:", () => {
  it("to make a disk smaller, in a guest that runs or does not", async () => {
    const guest = await encrypted("raw", "qcow2");
    const before = treeOf(host().images);
    for (const dev of ["vda", "vdb"])
      expect((await host().refusedGrow("web1", dev, "5M")).code).toBe("VOLUME_WOULD_SHRINK");
    expect(treeOf(host().images)).toEqual(before);
    await host().start(guest);
    for (const { dev, path } of guest.disks) {
      const now = await sizeInQemu(guest, path);
      expect((await host().refusedGrow("web1", dev, String(now - 512))).code).toBe("VOLUME_WOULD_SHRINK");
      expect(await sizeInQemu(guest, path)).toBe(now);
    }
  });

  it("what is not encrypted, not yet, or by somebody else, and names what to do instead", async () => {
    const guest = await host().guest("web1", ["raw", "raw"]);
    const before = () => treeOf(host().images);
    const untouched = before();
    const plain = await host().refusedGrow("web1", "vda", "10M");
    expect(plain.code).toBe("DISK_NOT_ENCRYPTED");
    await host().must("protect", "web1", "--disk", "vdb");
    const pending = await host().refusedGrow("web1", "vdb", "10M");
    expect(pending.code).toBe("DISK_NOT_ENCRYPTED");
    await host().guest("web2", ["raw"], { blocks: "of unknown keys" });
    expect((await host().refusedGrow("web2", "vda")).code).toBe("KEY_NOT_FOUND");
    expect((await host().refusedGrow("web1", "vdz")).code).toBe("DISK_NOT_FOUND");
    expect(before()).toMatchObject(untouched);

    const resize = /qemu-img resize .*$/.exec(pending.hint)?.[0] ?? "";
    expect(await host().paste(resize.replace("+10G", "+4M"))).toMatchObject({ exitCode: 0 });
    await host().must("protect", "web1", "--disk", "vdb", "--now");
    expect(await sizeWhenOpened(guest, 1)).toBe(10 * MIB);
  });

  it("a disk whose volume belongs to another key", async () => {
    const guest = await encrypted("raw", "raw");
    const [a, b] = guest.disks;
    await execa("cp", ["--", b!.path, a!.path]);
    expect((await host().refusedGrow("web1", "vda", "10M")).code).toBe("LUKS_UUID_MISMATCH");
  });

  it("a guest whose memory was saved", async () => {
    const guest = await encrypted("raw");
    await host().start(guest);
    await host().libvirt.virsh("managedsave", guest.uuid);
    const { code, hint } = await host().refusedGrow("web1", "vda", "10M");
    expect(code).toBe("GUEST_RUNNING");
    expect(hint).toContain("virsh start web1");
    expect(statSync(guest.disks[0]!.path).size).toBe(8 * MIB);
  });

  it("a volume that another QEMU has open", async () => {
    const guest = await encrypted("raw");
    const { path } = guest.disks[0]!;
    const before = treeOf(host().images);
    const held = execa("qemu-io", ["-f", "raw", path], { stdin: "pipe", reject: false });
    held.stdin.write("length\n");
    await new Promise((resolve) => held.stdout.once("data", resolve));
    expect((await host().refusedGrow("web1", "vda", "10M")).code).toBe("VOLUME_BUSY");
    held.stdin.end();
    await held;
    expect(treeOf(host().images)).toEqual(before);
  });
});
