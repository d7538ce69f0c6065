import { execa } from "execa";
import { copyFile, rm, truncate } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { hashOf, makeThickVolume, makeVolume, MIB, writeAt } from "./support/volumes.js";

const host = hostForThisFile();

const first = ({ disks }: TestGuest) => disks[0]!;
const states = async () => (await host().keystore().list()).map(({ state }) => state);

/** A guest whose disks were formatted by its first start. */
async function encrypted(name: string, ...formats: ("raw" | "qcow2")[]): Promise<TestGuest> {
  const guest = await host().guest(name, formats);
  await host().must("protect", name, "--now");
  return guest;
}

const qemuImg = (...args: string[]) => execa("qemu-img", args);
const qemuIo = (path: string, command: string) => execa("qemu-io", ["-f", "qcow2", "-c", command, path]);

/** One Linux partition, and the signature at the end of the master boot record. */
const PARTITIONS = Buffer.alloc(66);
PARTITIONS.set([0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0]);
PARTITIONS.set([0x55, 0xaa], 64);

describe.each<[content: string, format: "raw" | "qcow2", fill: (path: string) => Promise<unknown>]>([
  ["an ext4 file system", "raw", (path) => execa("mkfs.ext4", ["-q", "-F", path])],
  ["a partition table", "raw", (path) => writeAt(path, 446, PARTITIONS)],
  ["one byte somewhere", "raw", (path) => writeAt(path, 5 * MIB + 123, "x")],
  ["one byte at its end", "raw", (path) => writeAt(path, 8 * MIB - 1, "x")],
  ["clusters with data", "qcow2", (path) => qemuIo(path, "write -P 7 1M 512")],
  [
    "data over a backing file",
    "qcow2",
    async (path) => {
      await makeVolume(`${path}.base`, "raw");
      await qemuImg("create", "-q", "-f", "qcow2", "-b", `${path}.base`, "-F", "raw", path, "8M");
      await qemuIo(path, "write -z 1M 64k");
    },
  ],
  ["an internal snapshot", "qcow2", (path) => qemuImg("snapshot", "-c", "before", path)],
])("a volume with %s (%s)", (_, format, fill) => {
  it("is neither protected nor, where it was empty when it was protected, formatted by a start", async () => {
    const pending = await host().guest("web1", [format]);
    await host().must("protect", "web1");
    const { path } = first(pending);
    await fill(path);
    const before = await hashOf(path);
    expect((await host().refusedStart(pending)).code).toBe("VOLUME_NOT_EMPTY");

    const bare = await host().define({ name: "web2", disks: [{ dev: "vda", path, format }] });
    expect((await host().refusedProtect("web2")).code).toBe("VOLUME_NOT_EMPTY");
    expect(await host().blocks(bare)).toEqual({});
    expect(await hashOf(path)).toBe(before);
    expect(await states()).toEqual(["pending"]);
  });
});

describe("a volume that cannot be looked at", () => {
  it.each<[what: string, code: string, damage: (path: string) => Promise<unknown>]>([
    ["is missing", "VOLUME_NOT_FOUND", (path) => rm(path)],
    [
      "is no file",
      "VOLUME_UNREADABLE",
      async (path) => {
        await rm(path);
        await execa("mkfifo", [path]);
      },
    ],
    [
      "leads to itself",
      "VOLUME_UNREADABLE",
      async (path) => {
        await rm(path);
        await execa("ln", ["-s", path, path]);
      },
    ],
  ])("because it %s is refused as %s when protected, pending and active", async (_, code, damage) => {
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    await copyFile(first(guest).path, `${first(guest).path}.backup`);
    await damage(first(guest).path);
    expect((await host().refusedStart(guest)).code).toBe(code);

    const active = await encrypted("web2", "raw");
    await damage(first(active).path);
    expect((await host().refusedStart(active)).code).toBe(code);

    const bare = await host().guest("web3", ["raw"]);
    await damage(first(bare).path);
    expect((await host().refusedProtect("web3")).code).toBe(code);

    expect((await states()).sort()).toEqual(["active", "pending"]);
    await rm(first(guest).path, { force: true });
    await copyFile(`${first(guest).path}.backup`, first(guest).path);
    await host().start(guest);
  });
});

it("a thick volume in place of the one that was protected is formatted only when the administrator says so", async () => {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1");
  const uuid = (await host().blocks(guest))["vda"];
  const path = host().newPath("raw");
  await makeThickVolume(path);
  const disk = { dev: "vda", path, format: "raw", secretUuid: uuid ?? "" } as const;
  await host().define({ ...guest, disks: [disk] });
  const before = await hashOf(path);
  const { code, hint } = await host().refusedStart(guest);
  expect(code).toBe("KEY_IN_USE");
  expect(await hashOf(path)).toBe(before);
  const [command = ""] = /luksmith protect .*/.exec(hint) ?? [];
  expect(await host().paste(command)).toMatchObject({ exitCode: 0, stderr: "" });
  await host().start(guest);
  expect(await host().keystore().list()).toMatchObject([{ uuid, state: "active", volume: path }]);
});

describe("an encrypted disk", () => {
  it.each<[what: string, code: string, format: "raw" | "qcow2", damage: (path: string) => Promise<unknown>]>([
    ["whose header was cut off", "LUKS_HEADER_INVALID", "raw", (path) => truncate(path, 300)],
    ["whose payload was cut off", "LUKS_HEADER_INVALID", "raw", (path) => truncate(path, MIB)],
    [
      "whose header was zeroed",
      "VOLUME_NOT_FORMATTED",
      "raw",
      (path) => writeAt(path, 0, Buffer.alloc(2 * MIB)),
    ],
    [
      "whose header was overwritten",
      "VOLUME_NOT_FORMATTED",
      "raw",
      (path) => writeAt(path, 0, Buffer.alloc(MIB, 7)),
    ],
    [
      "whose keyslots were damaged",
      "LUKS_HEADER_INVALID",
      "raw",
      (path) => writeAt(path, 208, Buffer.alloc(8)),
    ],
    ["that became a new, empty raw file", "VOLUME_NOT_FORMATTED", "raw", (path) => makeVolume(path, "raw")],
    [
      "that became a new, empty qcow2 image",
      "VOLUME_NOT_FORMATTED",
      "qcow2",
      (path) => makeVolume(path, "qcow2"),
    ],
    ["whose qcow2 header was cut off", "VOLUME_UNREADABLE", "qcow2", (path) => truncate(path, 60)],
  ])(
    "%s is refused as %s, never formatted again, and starts when it is restored",
    async (_, code, format, damage) => {
      const guest = await encrypted("web1", format);
      const { path } = first(guest);
      await copyFile(path, `${path}.backup`);
      await damage(path);
      const damaged = await hashOf(path);
      expect((await host().refusedStart(guest)).code).toBe(code);
      expect((await host().refusedProtect("web1", "--now")).code).toBe(code);
      expect(await hashOf(path)).toBe(damaged);
      expect(await states()).toEqual(["active"]);
      await copyFile(`${path}.backup`, path);
      await host().start(guest);
    },
  );

  it("does not start with another guest's volume in its place", async () => {
    const [guest, other] = [await encrypted("web1", "raw"), await encrypted("web2", "raw")];
    await copyFile(first(other).path, first(guest).path);
    expect((await host().refusedStart(guest)).code).toBe("LUKS_UUID_MISMATCH");
    expect(await hashOf(first(guest).path)).toBe(await hashOf(first(other).path));
    await host().start(other);
  });

  it("whose encryption block was lost does not start, until protect has put it back", async () => {
    const guest = await encrypted("web1", "raw", "qcow2");
    const blocks = await host().blocks(guest);
    const hashes = await Promise.all(guest.disks.map(({ path }) => hashOf(path)));
    await host().define(guest);
    const { code, hint } = await host().refusedStart(guest);
    expect(code).toBe("ENCRYPTION_BLOCK_LOST");
    const [command = ""] = /luksmith protect .*/.exec(hint) ?? [];
    expect(await host().paste(command)).toMatchObject({ exitCode: 0, stderr: "" });
    // the other one has lost its block as well
    expect((await host().refusedStart(guest)).code).toBe("ENCRYPTION_BLOCK_LOST");
    await host().must("protect", "web1");
    expect(await host().blocks(guest)).toEqual(blocks);
    expect(await Promise.all(guest.disks.map(({ path }) => hashOf(path)))).toEqual(hashes);
    await host().start(guest);
  });

  it("whose passphrase was changed behind our back does not start, and leaves no host secret", async () => {
    const guest = await encrypted("web1", "raw");
    const uuid = (await host().blocks(guest))["vda"] ?? "";
    await execa(
      "cryptsetup",
      [
        "luksFormat",
        "-q",
        "--type",
        "luks1",
        "--uuid",
        uuid,
        "--pbkdf-force-iterations",
        "1000",
        first(guest).path,
        "-",
      ],
      { input: "another passphrase" },
    );
    await expect(host().start(guest)).rejects.toThrow(/password|passphrase/);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
  });
});

it("refuses a guest whose encrypted disk has an external snapshot's plaintext file on top", async () => {
  const guest = await encrypted("web1", "raw");
  const { libvirt } = host();
  await libvirt.virsh("start", "web1");
  const overlay = `${first(guest).path}.s1`;
  const spec = ["--disk-only", "--no-metadata", "--diskspec", `vda,file=${overlay}`];
  await libvirt.virsh("snapshot-create-as", "web1", "s1", ...spec);
  await libvirt.virsh("destroy", "web1");
  const before = await hashOf(overlay);
  expect((await host().refusedStart(guest)).code).toBe("OVERLAY_NOT_ENCRYPTED");
  expect(await hashOf(overlay)).toBe(before);
});
