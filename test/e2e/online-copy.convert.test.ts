import { execa } from "execa";
import { rm } from "node:fs/promises";
import { expect, it, vi } from "vitest";
import type { TestGuest } from "./support/guests.js";
import { hostForThisFile } from "./support/each-test.js";
import { convertRunning, onDisk, volumeOf } from "./support/online.js";
import { guestBytes, hashOf, luksUuidOf, type ImageFormat, makeVolume, MIB } from "./support/volumes.js";
import { checkWriting, defineWriter, MAGIC, writesOn } from "./support/writing-guest.js";

const host = hostForThisFile();
// guests write on meanwhile, on a machine that is busy with other tests
vi.setConfig({ testTimeout: 180_000 });

it.each<ImageFormat>(["raw", "qcow2"])(
  "a guest gets an encrypted %s volume while it writes, and has all its data after a restart",
  async (format) => {
    const guest = await writer(format);
    const old = guest.disks[0]!.path;
    const path = host().newPath(format);
    await converted(guest, { to: "encrypted", path });
    expect(await volumes(guest)).toEqual([path, path]);
    const before = await hashOf(old);
    const { written } = await writesOn(host(), guest);
    expect(await hashOf(old), "the guest does not write to its old volume any more").toBe(before);
    const { vda } = await host().blocks(guest);
    expect(await host().libvirt.secretsLeft()).toEqual([vda]);
    expect(await host().libvirt.virsh("dumpxml", guest.uuid)).not.toContain("urn:luksmith:paused");
    await host().stop(guest);
    const { record, passphrase } = await host().key(vda);
    using secret = passphrase;
    expect(record).toMatchObject({ state: "active", volume: path, disk: "vda", guest: { id: guest.uuid } });
    expect((await checkWriting(onDisk(guest, path, format), secret)).written).toBeGreaterThanOrEqual(written);
    expect((await execa("grep", ["-c", MAGIC.trim(), path], { reject: false })).stdout).toBe("0");
    await host().start(guest);
    await writesOn(host(), guest);
  },
);

it("what the guest never wrote reads as zero, as before", async () => {
  const guest = await writer("raw");
  const path = host().newPath("raw");
  await converted(guest, { to: "encrypted", path });
  const { passphrase } = await host().key((await host().blocks(guest))["vda"]);
  using secret = passphrase;
  const [from, length] = [4 * MIB, MIB];
  expect((await guestBytes(path, "raw", secret, from, length))?.equals(Buffer.alloc(length))).toBe(true);
});

it("an encrypted disk gets another volume with another volume key, and loses the secret of its old one", async () => {
  const guest = await writer("raw", "protected");
  const { vda: oldKey } = await host().blocks(guest);
  const path = host().newPath("raw");
  await converted(guest, { to: "another volume key", path });
  const { vda: newKey } = await host().blocks(guest);
  expect(newKey).not.toBe(oldKey);
  expect(await host().libvirt.secretsLeft()).toEqual([newKey]);
  await restarted(guest);
  expect(await volumes(guest)).toEqual([path, path]);
});

it.each<ImageFormat>(["raw", "qcow2"])("an encrypted disk becomes a plain %s one", async (format) => {
  const guest = await writer(format, "protected");
  const path = host().newPath(format);
  await converted(guest, { to: "plain", path });
  expect(await host().blocks(guest)).toEqual({});
  expect(await host().libvirt.secretsLeft()).toEqual([]);
  const sizes = await Promise.all([guest.disks[0]!.path, path].map((volume) => virtualSize(volume, format)));
  // a raw LUKS volume has its header before what the guest sees
  expect(sizes[0]! - sizes[1]!).toBe(format === "raw" ? 2 * MIB : 0);
  await restarted(guest);
  expect(await volumes(guest)).toEqual([path, path]);
});

it("an overlay becomes one volume that holds all, and needs its base no more", async () => {
  const base = host().newPath("qcow2");
  await makeVolume(base, "qcow2");
  const overlay = host().newPath("qcow2");
  await execa("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", "--", overlay]);
  const guest = await defineWriter(host(), {
    name: "writer",
    disks: [{ dev: "vda", path: overlay, format: "qcow2" }],
  });
  await host().start(guest);
  await writesOn(host(), guest);
  const path = host().newPath("qcow2");
  await converted(guest, { to: "encrypted", path });
  await host().stop(guest);
  await rm(base);
  await rm(overlay);
  await host().start(guest);
  await writesOn(host(), guest);
});

it("a guest that somebody has paused stays so", async () => {
  const guest = await writer("raw");
  await host().libvirt.virsh("suspend", guest.uuid);
  const path = host().newPath("raw");
  await converted(guest, { to: "encrypted", path });
  expect((await host().libvirt.virsh("domstate", guest.uuid)).trim()).toBe("paused");
  await host().libvirt.virsh("resume", guest.uuid);
  await writesOn(host(), guest);
});

it("a volume of another size is refused before the guest's QEMU opens it", async () => {
  const guest = await writer("raw");
  const path = host().newPath("raw");
  await execa("truncate", ["-s", String(9 * MIB), path]);
  const small = await convertRunning(host(), guest, "vda", { to: "encrypted", path });
  expect(small.stderr).toContain("it is not as large as the disk");
  expect(small.exitCode).toBe(3);
  expect(await volumes(guest)).toEqual([guest.disks[0]!.path, guest.disks[0]!.path]);
  expect(await luksUuidOf(path, "raw"), "nothing was written to it").toBeUndefined();
});

async function writer(format: ImageFormat, state?: "protected"): Promise<TestGuest> {
  const path = host().newPath(format);
  await makeVolume(path, format);
  if (state === "protected" && format === "raw") await execa("truncate", ["-s", String(10 * MIB), path]);
  const guest = await defineWriter(host(), { name: "writer", disks: [{ dev: "vda", path, format }] });
  if (state === "protected") await host().must("protect", guest.name);
  await host().start(guest);
  await writesOn(host(), guest);
  return guest;
}

async function converted(guest: TestGuest, conversion: Parameters<typeof convertRunning>[3]): Promise<void> {
  const { exitCode, stderr } = await convertRunning(host(), guest, "vda", conversion);
  expect(stderr).toBe("");
  expect(exitCode).toBe(0);
}

async function restarted(guest: TestGuest): Promise<void> {
  const { round } = await writesOn(host(), guest);
  await host().stop(guest);
  await host().start(guest);
  expect((await writesOn(host(), guest)).began).toBeGreaterThanOrEqual(round);
}

async function volumes(guest: TestGuest): Promise<string[]> {
  return [await volumeOf(host(), guest, "vda", "live"), await volumeOf(host(), guest, "vda", "persistent")];
}

async function virtualSize(path: string, format: ImageFormat): Promise<number> {
  const { stdout } = await execa("qemu-img", ["info", "-U", "--output=json", "-f", format, "--", path]);
  return (JSON.parse(stdout) as { "virtual-size": number })["virtual-size"];
}
