import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { expect, it, vi } from "vitest";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { hostForThisFile } from "./support/each-test.js";
import { type ImageFormat, makeVolume, opensWith } from "./support/volumes.js";
import { checkWriting, defineWriter, writesOn } from "./support/writing-guest.js";

const host = hostForThisFile();

it.each<ImageFormat>(["raw", "qcow2"])(
  "a guest writes on while its passphrase is replaced, and restarts with the new one, on %s",
  async (format) => {
    const path = host().newPath(format);
    await makeVolume(path, format);
    const guest = await defineWriter(host(), { name: "writer", disks: [{ dev: "vda", path, format }] });
    await host().must("protect", guest.name);
    await host().start(guest);
    const before = await writesOn(host(), guest);
    const { vda } = await host().blocks(guest);
    using former = (await host().key(vda)).passphrase;
    expect(await host().must("rotate", guest.name)).toBe("writer: vda has a new passphrase\n");
    const key = await host().key(vda);
    using current = key.passphrase;
    expect(key.record).toMatchObject({ generation: 2, state: "active" });
    expect([await opensWith(path, format, current), await opensWith(path, format, former)]).toEqual([
      true,
      false,
    ]);
    await writesOn(host(), guest, { rounds: 2 });
    await host().stop(guest);
    const { written } = await checkWriting(guest.disks[0]!, current);
    expect(written).toBeGreaterThanOrEqual(before.written);
    await host().start(guest);
    await writesOn(host(), guest);
  },
);

it("libvirt alone gives a disk back to a running guest after a rotation: it has the new passphrase", async () => {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1");
  await host().start(guest);
  const path = host().newPath("qcow2");
  await makeVolume(path, "qcow2");
  await host().must("attach", "web1", "sdb", path, "--format", "qcow2", "--bus", "usb");
  const { vda, sdb } = await host().blocks(guest);
  expect(await host().must("rotate", "web1", "--disk", "sdb")).toBe("web1: sdb has a new passphrase\n");
  expect([await generation(vda), await generation(sdb)]).toEqual([undefined, 2]);
  const xml = host().newPath("xml");
  await writeFile(xml, usbDisk(path, sdb!));
  await host().libvirt.virsh("detach-device", guest.uuid, xml, "--live");
  await vi.waitFor(async () => {
    expect(await host().libvirt.virsh("domblklist", guest.uuid)).not.toContain(path);
  }, 20_000);
  await host().libvirt.virsh("attach-device", guest.uuid, xml, "--live");
  expect(await host().libvirt.virsh("domblklist", guest.uuid)).toContain(path);
});

it("rotates all disks of all guests that are due, and says so to machines", async () => {
  await host().guest("web1", ["raw", "raw"]);
  await host().guest("web2", ["qcow2"]);
  await host().guest("plain", ["raw"]);
  for (const name of ["web1", "web2"]) await host().must("protect", name, "--now");
  expect(await host().json("rotate", "--all", "--older-than", "1d", "--json")).toMatchObject({
    disks: [{ outcome: "recent" }, { outcome: "recent" }, { outcome: "recent" }],
  });
  expect(await host().must("rotate", "--all", "--due")).toBe("nothing to do: no passphrase is old enough\n");
  const done = (await host().json("rotate", "--all", "--older-than", "0d", "--json")) as {
    disks: { outcome: string; disk: string; guest: { name: string } }[];
  };
  const told = done.disks.map(({ outcome, disk, guest }) => [guest.name, disk, outcome]);
  expect(told.toSorted()).toEqual([
    ["web1", "vda", "rotated"],
    ["web1", "vdb", "rotated"],
    ["web2", "vda", "rotated"],
  ]);
});

it("refuses a guest that was saved while it ran, and one whose key a copy of the volume has too", async () => {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1", "--now");
  await host().start(guest);
  await host().libvirt.virsh("managedsave", guest.uuid);
  const saved = await host().luksmith("rotate", "web1");
  expect([saved.exitCode, saved.stderr]).toEqual([
    3,
    expect.stringContaining("it was saved while it was running"),
  ]);
  await host().libvirt.virsh("managedsave-remove", guest.uuid);
  const copy = host().newPath("raw");
  await host().libvirt.exec(["cp", guest.disks[0]!.path, copy]);
  const { vda } = await host().blocks(guest);
  await host().define({ name: "copy", disks: [{ dev: "vda", path: copy, format: "raw", secretUuid: vda! }] });
  const shared = await host().luksmith("rotate", "web1");
  expect(shared.stderr).toContain("of guest copy has the same key");
  expect(shared.exitCode).toBe(3);
  expect(await generation(vda)).toBe(undefined);
});

async function generation(uuid: KeyUuid | undefined): Promise<number | undefined> {
  const { record, passphrase } = await host().key(uuid);
  passphrase.dispose();
  return record.generation;
}

function usbDisk(path: string, uuid: KeyUuid): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='${path}'><encryption format='luks'><secret type='passphrase' uuid='${uuid}'/></encryption></source>
    <target dev='sdb' bus='usb'/></disk>`;
}

it("a new volume key comes with a new volume and a key of its own; what was written is there", async () => {
  const path = host().newPath("raw");
  await makeVolume(path, "raw");
  const guest = await defineWriter(host(), { name: "writer", disks: [{ dev: "vda", path, format: "raw" }] });
  await host().must("protect", guest.name);
  await host().start(guest);
  const before = await writesOn(host(), guest);
  const { vda: old } = await host().blocks(guest);
  await host().stop(guest);
  await host().must("rotate", guest.name, "--deep");
  const { vda } = await host().blocks(guest);
  expect(vda).not.toBe(old);
  await host().start(guest);
  const after = await writesOn(host(), guest);
  expect(after.began).toBeGreaterThan(before.began);
});

it.each<ImageFormat>(["raw", "qcow2"])(
  "a guest that runs gets a new volume key on %s, with a copy of the new header; purge takes the old volume away",
  async (format) => {
    const path = host().newPath(format);
    await makeVolume(path, format);
    const guest = await defineWriter(host(), { name: "writer", disks: [{ dev: "vda", path, format }] });
    await host().must("protect", guest.name);
    await host().start(guest);
    await writesOn(host(), guest);
    const { vda: old } = await host().blocks(guest);
    expect(await host().must("rotate", guest.name, "--deep")).toContain("luksmith purge writer vda");
    const { vda } = await host().blocks(guest);
    expect(vda).not.toBe(old);
    expect(await host().libvirt.secretsLeft()).toEqual([vda]);
    expect(await host().json("header", "list", guest.name)).toMatchObject({
      volumes: [{ key: vda, copies: [{}] }],
    });
    await writesOn(host(), guest, { rounds: 2 });
    await host().must("purge", guest.name, "--yes");
    expect(existsSync(path)).toBe(false);
    await host().stop(guest);
    await host().start(guest);
    await writesOn(host(), guest);
  },
);
