import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { CATALOGUE, type ErrorCode } from "../../src/error/catalogue.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { hashOf, type ImageFormat, luksUuidOf, makeVolume, MIB, writeAt } from "./support/volumes.js";

const host = hostForThisFile();

/** QEMU takes a USB disk away without asking; a guest that sits in its firmware lets no other one go. */
const USB = ["--bus", "usb"];

async function running(name = "web1"): Promise<TestGuest> {
  const guest = await host().guest(name, ["raw"]);
  await host().must("protect", name);
  await host().start(guest);
  return guest;
}

async function newVolume(format: ImageFormat = "raw"): Promise<string> {
  const path = host().newPath(format);
  await makeVolume(path, format);
  return path;
}

const secrets = async () => (await host().libvirt.secretsLeft()).sort();
const live = (guest: TestGuest) => host().libvirt.virsh("dumpxml", "--security-info", guest.uuid);

/** Whether QEMU has the volume open. */
async function isInQemu(guest: TestGuest, path: string): Promise<boolean> {
  const query = JSON.stringify({ execute: "query-named-block-nodes" });
  return (await host().libvirt.virsh("qemu-monitor-command", guest.uuid, query)).includes(path);
}

/** Fails with this error, and tells the person. */
async function refused(code: ErrorCode, ...args: readonly string[]): Promise<string> {
  const before = (await host().log()).length;
  const { exitCode, stderr } = await host().luksmith(...args);
  const codes = (await host().log()).slice(before).flatMap((line) => line.code ?? []);
  expect([codes, exitCode]).toEqual([[code], CATALOGUE[code].exit]);
  expect(stderr).toMatch(/^error: /);
  return stderr;
}

describe.each<ImageFormat>(["raw", "qcow2"])("a new %s volume", (format) => {
  it(
    "is encrypted, given to the running guest, taken away and given back",
    { timeout: 120_000 },
    async () => {
      const guest = await running();
      const before = [await secrets(), await host().definition(guest)];
      const path = await newVolume(format);
      const said = await host().must("attach", "web1", "sdb", path, "--format", format, ...USB);
      expect(said).toMatch(/\nweb1: sdb attached\n$/);
      const { sdb = "", vda } = await host().blocks(guest);
      expect(await luksUuidOf(path, format)).toBe(sdb);
      expect(await secrets()).toEqual([vda, sdb].sort());
      expect([await isInQemu(guest, path), await live(guest)]).toEqual([true, expect.stringContaining(sdb)]);

      const detached = await host().must("detach", "web1", "sdb");
      expect([await secrets(), await host().definition(guest)]).toEqual(before);
      expect([await isInQemu(guest, path), await host().keystore().list()]).toEqual([
        false,
        expect.arrayContaining([expect.objectContaining({ uuid: sdb, state: "active" })]),
      ]);

      const command = /to attach it again: (.*)\n$/.exec(detached)?.[1] ?? "";
      const bytes = await hashOf(path);
      expect((await host().paste(`${command} --bus usb`)).stderr).toBe("");
      expect((await host().blocks(guest))["sdb"]).toBe(sdb);
      expect([await isInQemu(guest, path), await hashOf(path)]).toEqual([true, bytes]);
    },
  );
});

it("a disk is there after the guest's next start as well", async () => {
  const guest = await running();
  const path = await newVolume();
  await host().must("attach", "web1", "vdb", path);
  await host().stop(guest);
  await expectNothingLeft(host());
  await host().start(guest);
  expect([await isInQemu(guest, path), await secrets()]).toEqual([
    true,
    Object.values(await host().blocks(guest)).sort(),
  ]);
  expect(await host().must("attach", "web1", "vdb", path)).toBe("web1: vdb is attached already\n");
});

describe("a disk of the definition", () => {
  it("comes back to the running guest after --live took it away", async () => {
    const guest = await running();
    const path = await newVolume();
    await host().must("attach", "web1", "sdb", path, ...USB);
    const before = [await secrets(), await host().definition(guest)];
    await host().must("detach", "web1", "sdb", "--live");
    expect(await isInQemu(guest, path)).toBe(false);
    expect(await secrets()).toHaveLength(1);
    expect(await host().definition(guest)).toBe(before[1]);
    expect(await host().must("detach", "web1", "sdb", "--live")).toBe("web1: sdb is detached already\n");
    await host().must("attach", "web1", "sdb");
    expect([await secrets(), await host().definition(guest)]).toEqual(before);
    expect(await isInQemu(guest, path)).toBe(true);
  });

  it("is given to the guest after a restart of libvirtd, which lost every secret", async () => {
    const guest = await running();
    await host().must("attach", "web1", "sdb", await newVolume(), ...USB);
    await host().must("detach", "web1", "sdb", "--live");
    await host().libvirt.restartDaemon();
    await vi.waitUntil(async () => (await secrets()).length > 0, { timeout: 30_000 });
    for (const uuid of await secrets()) await host().libvirt.virsh("secret-undefine", uuid);
    await host().must("attach", "web1", "sdb");
    expect(await secrets()).toEqual([(await host().blocks(guest))["sdb"]]);
  });

  it("is formatted first if no start has done it", async () => {
    const guest = await host().guest("web1", ["raw", "raw"]);
    const path = guest.disks[1]!.path;
    await host().must("protect", "web1");
    // as if the second disk had been protected while the guest ran without it
    const whole = await host().definition(guest);
    const alone = whole.replace(/<disk (?:(?!<disk ).)*<target dev='vdb'.*?<\/disk>/s, "");
    await host().libvirt.define(alone);
    await host().start(guest);
    await host().libvirt.define(whole);
    expect(await luksUuidOf(path, "raw")).toBe(undefined);
    await host().must("attach", "web1", "vdb");
    expect(await luksUuidOf(path, "raw")).toBe((await host().blocks(guest))["vdb"]);
    expect(await isInQemu(guest, path)).toBe(true);
  });

  it("is never given to the guest in plaintext", async () => {
    const guest = await running();
    const path = await newVolume();
    await host().libvirt.virsh("attach-disk", guest.uuid, path, "vdb", "--config", "--subdriver", "raw");
    const definition = await host().definition(guest);
    for (const volume of [[], [path]]) {
      const said = await refused("DISK_NOT_ENCRYPTED", "attach", "web1", "vdb", ...volume);
      expect(said).toContain("virsh attach-device");
    }
    expect([await isInQemu(guest, path), await host().definition(guest)]).toEqual([false, definition]);
  });
});

it("a guest that is shut off is prepared, and has the disk from its next start on", async () => {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1");
  const before = await host().definition(guest);
  const path = await newVolume();
  expect(await host().must("attach", "web1", "vdb", path)).toMatch(
    /shut off, and has it from its next start on\n$/,
  );
  expect([await luksUuidOf(path, "raw"), await secrets()]).toEqual([(await host().blocks(guest))["vdb"], []]);
  await refused("GUEST_NOT_RUNNING", "detach", "web1", "vdb", "--live");
  await host().start(guest);
  expect(await isInQemu(guest, path)).toBe(true);
  await host().stop(guest);
  await host().must("detach", "web1", "vdb");
  expect(await host().definition(guest)).toBe(before);
});

it("a guest whose memory was saved is left alone", async () => {
  const guest = await running();
  await host().libvirt.virsh("managedsave", guest.uuid);
  const before = await host().definition(guest);
  await refused("GUEST_RUNNING", "attach", "web1", "vdb", await newVolume());
  await refused("GUEST_RUNNING", "detach", "web1", "vda");
  expect(await host().definition(guest)).toBe(before);
});

it("a disk that the guest does not let go stays as it is", { timeout: 120_000 }, async () => {
  const guest = await running();
  const path = await newVolume();
  await host().must("attach", "web1", "vdb", path);
  const before = [await secrets(), await host().definition(guest)];
  await refused("DISK_DETACH_FAILED", "detach", "web1", "vdb");
  expect([await secrets(), await host().definition(guest)]).toEqual(before);
  expect(await isInQemu(guest, path)).toBe(true);
});

it("a plain disk is taken away as well, and there is nothing else to take", async () => {
  const guest = await running();
  const path = await newVolume();
  await host().libvirt.virsh(
    "attach-disk",
    guest.uuid,
    path,
    "sdb",
    "--live",
    "--targetbus",
    "usb",
    "--subdriver",
    "raw",
  );
  const before = await secrets();
  expect(await host().must("detach", "web1", "sdb")).toBe(
    "done: take disk sdb from the running guest\nweb1: sdb detached\n",
  );
  expect([await isInQemu(guest, path), await secrets()]).toEqual([false, before]);
});

describe("attach is refused, and changes nothing,", () => {
  /** What must stay as it is. */
  async function world(guest: TestGuest, path: string) {
    return [
      await secrets(),
      await host().definition(guest),
      await hashOf(path),
      await host().keystore().list(),
    ];
  }

  it("where the volume holds data, or is not there", async () => {
    const guest = await running();
    const path = await newVolume();
    await writeAt(path, 5 * MIB, "x");
    const before = await world(guest, path);
    await refused("VOLUME_NOT_EMPTY", "attach", "web1", "vdb", path);
    await refused("VOLUME_NOT_FOUND", "attach", "web1", "vdb", `${path}.none`);
    const image = await newVolume("qcow2");
    expect(await refused("VOLUME_NOT_EMPTY", "attach", "web1", "vdb", image)).toContain("--format qcow2");
    expect(await world(guest, path)).toEqual(before);
    const gone = await newVolume();
    await host().must("attach", "web1", "sdb", gone, ...USB);
    await host().must("detach", "web1", "sdb", "--live");
    await rm(gone);
    await refused("VOLUME_NOT_FOUND", "attach", "web1", "sdb");
    expect(await secrets()).toEqual(before[0]);
  });

  it("where a guest has the volume, or its key", async () => {
    const web1 = await running();
    const web2 = await running("web2");
    const path = web2.disks[0]!.path;
    const copy = host().newPath("raw");
    await host().libvirt.exec(["cp", path, copy]);
    const before = await world(web1, copy);
    expect(await refused("VOLUME_BUSY", "attach", "web1", "vdb", path)).toContain("disk vda of guest web2");
    expect(await refused("KEY_IN_USE", "attach", "web1", "vdb", copy)).toContain("disk vda of guest web2");
    await refused("VOLUME_BUSY", "attach", "web1", "vdb", web1.disks[0]!.path);
    await refused("DISK_EXISTS", "attach", "web1", "vda", copy);
    expect(await world(web1, copy)).toEqual(before);
    await host().stop(web2);
    await host().must("attach", "web1", "vdb", path);
  });

  it("while the keystore is not available; detach does not need it", async () => {
    const guest = await running();
    const path = await newVolume();
    await host().must("attach", "web1", "sdb", path, ...USB);
    const another = await newVolume();
    await chmod(host().keystoreDirectory, 0o755);
    try {
      await refused("PERMISSIONS_UNSAFE", "attach", "web1", "vdc", another);
      await host().must("detach", "web1", "sdb", "--live");
      await refused("PERMISSIONS_UNSAFE", "attach", "web1", "sdb");
    } finally {
      await chmod(host().keystoreDirectory, 0o700);
    }
    expect([await secrets(), Object.keys(await host().blocks(guest))]).toEqual([
      [(await host().blocks(guest))["vda"]],
      ["vda", "sdb"],
    ]);
    await host().must("attach", "web1", "sdb");
  });

  it("where a hostile name is no disk", async () => {
    await running();
    for (const dev of ["constructor", "vdb\nquit 'x'"]) {
      await refused("DISK_NOT_FOUND", "attach", "web1", dev);
      await refused("DISK_NOT_FOUND", "detach", "web1", dev);
      expect((await host().luksmith("attach", "web1", dev, "/srv/a.img")).exitCode).toBe(
        CATALOGUE.USAGE.exit,
      );
    }
  });
});

it("names of volumes can have anything but control characters", async () => {
  const guest = await running();
  const path = join(host().images, `a b'"\\<&>$(id);{, -é.img`);
  await makeVolume(path, "raw");
  await host().must("attach", "web1", "sdb", path, ...USB);
  expect(await luksUuidOf(path, "raw")).toBe((await host().blocks(guest))["sdb"]);
  const detached = await host().must("detach", "web1", "sdb");
  const command = /to attach it again: (.*)\n$/.exec(detached)?.[1] ?? "";
  expect((await host().paste(command)).stderr).toBe("");
  expect(Object.keys(await host().blocks(guest))).toEqual(["vda", "sdb"]);
});

it("when libvirt refuses the disk, all is undone but the LUKS header and its key", async () => {
  const guest = await running();
  const disks = async () => (await host().definition(guest)).match(/<disk .*?<\/disk>/gs);
  const before = [await secrets(), await disks()];
  const path = await newVolume();
  // no running guest takes one on IDE
  await refused("DISK_ATTACH_FAILED", "attach", "web1", "hdb", path);
  expect([await secrets(), await disks()]).toEqual(before);
  const states = (await host().keystore().list()).map(({ state }) => state);
  expect(states).toEqual(["active", "active"]);
  await host().must("attach", "web1", "vdb", path);
  expect(await host().keystore().list()).toHaveLength(2);
});
