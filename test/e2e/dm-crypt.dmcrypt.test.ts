import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, expect, it, vi } from "vitest";
import { demoPaths, makeDisks, MARKER } from "./demo-guest.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { inGuest } from "./support/in-guest.js";
import { bytesAt, guestOn, holds, type MappedDisk, mappedDisks } from "./support/mapped.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { volumesForThisFile } from "./support/volume-group.js";
import { makeVolume, MIB, opensWith, writeAt } from "./support/volumes.js";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const volumes = volumesForThisFile();
const host = hostForThisFile();

/** What a guest writes, and nobody else. */
const PATTERN = Buffer.alloc(4096, 0x5a);
const WRITE = "write -P 0x5a 1M 64k";
const READ = "read -P 0x5a 1M 64k";

async function newFile(): Promise<string> {
  const path = host().newPath("raw");
  await makeVolume(path, "raw");
  return path;
}

async function onlyMapped(guest: TestGuest): Promise<MappedDisk> {
  const mapped = Object.values(await mappedDisks(host(), guest));
  expect(mapped).toHaveLength(1);
  return mapped[0]!;
}

async function protectByDmCrypt(guest: TestGuest, ...options: readonly string[]): Promise<MappedDisk> {
  await host().must("protect", guest.name, "--engine", "dm-crypt", ...options);
  return onlyMapped(guest);
}

describe("a disk that dm-crypt decrypts", () => {
  it.each([
    ["a logical volume", "luks", () => volumes.newVolume()],
    ["a raw image file", "luks", newFile],
    ["a logical volume", "luksv2", () => volumes.newVolume()],
  ] as const)("is open while its guest runs, and ciphertext on %s: %s", async (_, format, makeNew) => {
    await host().settings({ version: 1, profiles: [{ name: "default", format }] });
    const path = await makeNew();
    const guest = await guestOn(host(), "web1", path);
    const { device, volume, ...mapped } = await protectByDmCrypt(guest);
    expect(mapped.format).toBe(format);
    expect(volume).toBe(path);
    expect(existsSync(device)).toBe(false);

    await host().start(guest);
    expect(await inGuest(host(), guest, 0, WRITE)).toBe("wrote 65536/65536");
    await inGuest(host(), guest, 0, "flush");
    expect(bytesAt(device, MIB, 4096).equals(PATTERN)).toBe(true);
    expect(holds(volume, PATTERN)).toBe(false);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    await expectNothingLeft(host());
    await host().stop(guest);
    expect(existsSync(device)).toBe(false);
    await expectNothingLeft(host());

    await host().start(guest);
    expect(await inGuest(host(), guest, 0, READ)).toBe("read 65536/65536");
    await host().stop(guest);
    if (format === "luks") {
      // what knows nothing of dm-crypt or Luksmith finds a volume of the common format
      const { record, passphrase } = await host().key(mapped.secret);
      using secret = passphrase;
      expect(record).toMatchObject({ state: "active", disk: "vda", volume: path });
      expect(await opensWith(path, "raw", secret)).toBe(true);
    }
    expect((await host().log()).map(({ event, steps }) => [event, steps])).toEqual([
      [undefined, ["store-key", "annotate"]],
      ["pre-start", ["format", "activate-key", "open-mapping"]],
      ["post-stop", ["close-mapping"]],
      ["pre-start", ["open-mapping"]],
      ["post-stop", ["close-mapping"]],
    ]);
  });

  it("stands beside one that QEMU decrypts, and one in clear", async () => {
    const paths = [host().newPath("qcow2"), volumes.newVolume(), await newFile()] as const;
    await makeVolume(paths[0], "qcow2");
    const guest = await guestOn(host(), "web1", ...paths);
    await host().must("protect", "web1", "--disk", "vda");
    const { device } = await protectByDmCrypt(guest, "--disk", "vdb");
    const blocks = await host().blocks(guest);
    expect(Object.keys(blocks)).toEqual(["vda"]);

    await host().start(guest);
    expect(await host().libvirt.secretsLeft()).toEqual([blocks["vda"]]);
    expect(existsSync(device)).toBe(true);
    for (const disk of [0, 1, 2]) {
      expect(await inGuest(host(), guest, disk, WRITE)).toBe("wrote 65536/65536");
      await inGuest(host(), guest, disk, "flush");
    }
    expect(paths.map((path) => holds(path, PATTERN))).toEqual([false, false, true]);
    await host().stop(guest);
    expect(existsSync(device)).toBe(false);
    await expectNothingLeft(host());
    expect((await host().log()).at(-1)?.steps).toEqual(["withdraw-secrets", "close-mapping"]);
  });

  it("is closed while the guest's memory is saved, and open again when it goes on", async () => {
    const guest = await guestOn(host(), "web1", volumes.newVolume());
    const { device } = await protectByDmCrypt(guest);
    await host().start(guest);
    await inGuest(host(), guest, 0, WRITE);
    await host().libvirt.virsh("managedsave", guest.uuid);
    expect(existsSync(device)).toBe(false);
    await expectNothingLeft(host());

    await host().start(guest);
    expect(await inGuest(host(), guest, 0, READ)).toBe("read 65536/65536");
    await host().stop(guest);
    expect(existsSync(device)).toBe(false);
  });

  it("stays open while libvirtd is restarted, and is closed by the stop after that", async () => {
    const guest = await guestOn(host(), "web1", await newFile());
    const { device } = await protectByDmCrypt(guest);
    await host().start(guest);
    await host().libvirt.restartDaemon();
    expect(await host().isRunning(guest)).toBe(true);
    expect(await inGuest(host(), guest, 0, WRITE)).toBe("wrote 65536/65536");
    await host().stop(guest);
    expect(existsSync(device)).toBe(false);
  });
});

it("a guest boots from a disk that dm-crypt decrypts, and works with another", async () => {
  const paths = demoPaths(host().images);
  await makeDisks(paths);
  const [system, data] = [volumes.newVolume(), volumes.newVolume()];
  const disk = (path: string, dev: string, order: number) => `<disk type='block' device='disk'>
    <driver name='qemu' type='raw'/><source dev='${path}'/><target dev='${dev}' bus='virtio'/><boot order='${order}'/>
  </disk>`;
  const serial = `<serial type='file'><source path='${paths.serial}'/><target port='0'/></serial>`;
  const devices = disk(system, "vda", 1) + disk(data, "vdb", 2) + serial;
  const guest = await host().define({ name: "web1", disks: [], devices });
  await host().must("protect", "web1", "--engine", "dm-crypt");
  const { vda, vdb } = await mappedDisks(host(), guest);

  await host().libvirt.virsh("start", "--paused", guest.uuid);
  await writeAt(vda!.device, 0, await readFile(paths.bootSector));
  await host().libvirt.virsh("resume", guest.uuid);
  await vi.waitFor(async () => expect(await readFile(paths.serial, "utf8")).toContain(MARKER), {
    timeout: 180_000,
    interval: 500,
  });
  await host().stop(guest);
  for (const path of [system, data]) expect(holds(path, Buffer.from(MARKER))).toBe(false);
  expect([vda, vdb].map((mapped) => existsSync(mapped!.device))).toEqual([false, false]);
});

describe("a start that fails", () => {
  it("leaves nothing when another disk's key is missing", async () => {
    const guest = await guestOn(host(), "web1", volumes.newVolume(), volumes.newVolume());
    await host().must("protect", "web1", "--engine", "dm-crypt", "--now");
    const { vda, vdb } = await mappedDisks(host(), guest);
    const { record, passphrase } = await host().key(vdb!.secret);
    passphrase.dispose();
    await host()
      .keystore()
      .delete(record.uuid as never);

    expect((await host().refusedStart(guest)).code).toBe("KEY_NOT_FOUND");
    expect([vda, vdb].map((disk) => existsSync(disk!.device))).toEqual([false, false]);
    await expectNothingLeft(host());
  });

  it("leaves nothing when QEMU refuses after the mapping was opened", async () => {
    const [volume, image] = [volumes.newVolume(), await newFile()];
    const guest = await guestOn(host(), "web1", volume, image);
    const other = await guestOn(host(), "other", image);
    await host().start(other);
    const { device } = await protectByDmCrypt(guest, "--disk", "vda");

    await expect(host().start(guest)).rejects.toThrow(/lock/);
    expect((await host().log()).map(({ steps }) => steps)).toContainEqual(
      expect.arrayContaining(["open-mapping"]),
    );
    expect(existsSync(device)).toBe(false);
    await expectNothingLeft(host());
  });
});

describe("growing", () => {
  it("a disk of a guest that is shut off", async () => {
    const guest = await guestOn(host(), "web1", volumes.newVolume());
    const { volume } = await protectByDmCrypt(guest, "--now");
    await host().must("grow", "web1", "vda", "+8M");
    await host().start(guest);
    expect(await sizeInGuest(guest)).toBe(22 * MIB);
    expect(await inGuest(host(), guest, 0, "write -P 0x5a 21M 64k")).toBe("wrote 65536/65536");
    await inGuest(host(), guest, 0, "flush");
    expect(holds(volume, PATTERN, 24 * MIB)).toBe(false);
  });

  it.each([
    ["a logical volume", "luks", () => volumes.newVolume(), 14],
    ["a raw image file", "luks", newFile, 6],
    ["a logical volume", "luksv2", () => volumes.newVolume(), 14],
  ] as const)("a disk of a guest that runs, on %s: %s", async (_, format, makeNew, mebibytes) => {
    await host().settings({ version: 1, profiles: [{ name: "default", format }] });
    const guest = await guestOn(host(), "web1", await makeNew());
    const { volume } = await protectByDmCrypt(guest);
    await host().start(guest);
    await inGuest(host(), guest, 0, WRITE);
    await host().must("grow", "web1", "vda", "+8M");
    expect(await sizeInGuest(guest)).toBe((mebibytes + 8) * MIB);
    const end = `${mebibytes + 7}M 64k`;
    expect(await inGuest(host(), guest, 0, `write -P 0x5a ${end}`)).toBe("wrote 65536/65536");
    await inGuest(host(), guest, 0, "flush");
    expect(holds(volume, PATTERN, (mebibytes + 10) * MIB)).toBe(false);
    await host().stop(guest);

    await host().start(guest);
    for (const range of ["1M 64k", end])
      expect(await inGuest(host(), guest, 0, `read -P 0x5a ${range}`)).toBe("read 65536/65536");
  });
});

async function sizeInGuest(guest: TestGuest): Promise<number> {
  const info = await host().libvirt.virsh("domblkinfo", guest.uuid, "vda");
  return Number(/^Capacity:\s+(\d+)/m.exec(info)?.[1]);
}
