import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CATALOGUE, type ErrorCode } from "../../src/error/catalogue.js";
import { DmTable } from "../lab/dm-table.js";
import { lvm, VolumeGroup } from "../lab/volume-group.js";
import type { TestGuest } from "./support/guests.js";
import { hostForThisFile } from "./support/each-test.js";
import { killPoints, runAndKill, someOf } from "./support/killed.js";
import {
  digestInLuks,
  digestOf,
  encryptAsNova,
  type NovaVolume,
  openMappings,
  sizeOf,
  writeKeyFile,
} from "./support/legacy-volumes.js";
import { expectNothingLeft } from "./support/nothing-left.js";

// a guest's start alone takes many seconds in User-Mode Linux
vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

const MIB = 1024 * 1024;

let group: VolumeGroup;

beforeEach(() => {
  group = new VolumeGroup();
});
// registered before the host's own, so that it runs after that: hooks of one kind run in reverse
afterEach(() => group[Symbol.dispose]());

const host = hostForThisFile();

interface PlainGuest {
  readonly guest: TestGuest;
  readonly volume: NovaVolume;
  /** Of the volume as the storage has it. */
  readonly bytes: string;
  readonly definition: string;
}

/** A guest whose disk Nova encrypted and Luksmith has adopted, shut off. */
async function plainGuest(size = 16 * MIB): Promise<PlainGuest> {
  const volume = encryptAsNova(group.create("vm1", size));
  const path = `/dev/mapper/${volume.mapping}`;
  const guest = await host().define({ name: "web1", disks: [{ dev: "vda", path, format: "raw" }] });
  const keyFile = writeKeyFile(join(host().libvirt.dir, "nova.key"), volume.key.toString("hex"));
  await host().must("adopt", "web1", "vda", "--volume", volume.path, "--key-file", keyFile);
  rmSync(keyFile);
  return { guest, volume, bytes: digestOf(volume.path), definition: await host().definition(guest) };
}

/** Every byte of the disk is in the LUKS volume, under a key of its own that is in use. */
async function expectConverted(path: string, { volume, bytes }: PlainGuest, when = ""): Promise<void> {
  const { digest, path: old } = volume;
  const record = (await host().keystore().list()).find((one) => one.volume === path);
  expect(record, when).toMatchObject({ state: "active", disk: "vda" });
  const { passphrase } = await host().key(record!.uuid);
  using secret = passphrase;
  expect(digestInLuks(path, secret, sizeOf(old), host().libvirt.dir), when).toBe(digest);
  expect(digestOf(old), when).toBe(bytes);
}

/** The guest has its old volume, as it was. */
async function expectUntouched({ guest, volume, bytes, definition }: PlainGuest): Promise<void> {
  expect(await host().definition(guest)).toBe(definition);
  expect(digestOf(volume.path)).toBe(bytes);
  expect(openMappings()).toEqual([]);
}

describe("luksmith convert", () => {
  test("copies every byte into a LUKS volume with a key of its own, and leaves the old one as it was", async () => {
    const plain = await plainGuest();
    const { volume, guest, definition } = plain;
    const target = group.path("vm1-luks");
    const dryRun = await host().must("convert", "web1", "vda", "--dry-run");
    expect(dryRun).toContain(`would make ${target}`);
    expect(await host().definition(guest)).toBe(definition);

    const { exitCode, stdout, stderr } = await host().luksmith("convert", "web1", "vda");
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toContain("copying: 100 %");
    expect(stdout).toContain(`lvremove ${volume.path} && luksmith keys delete`);
    await expectConverted(target, plain);
    expect(openMappings()).toEqual([]);
    await expectNothingLeft(host());

    // legacy is not switched on any more
    await host().start(guest);
    expect(openMappings()).toEqual([]);
    expect(await host().definition(guest)).toContain(`<source dev='${target}'`);
    expect((await host().log()).filter(({ level }) => level === "warn")).toEqual([]);
    await host().stop(guest);
    const again = await host().must("convert", "web1", "vda");
    expect(again).toContain("LUKS already");
    expect(again).toContain(`the old volume is still there: ${volume.path}`);
    const remove = /^ {2}(lvremove .*)$/m.exec(stdout)?.[1]?.replace("lvremove", "lvremove -y") ?? "";
    expect((await host().paste(`${remove} --yes`)).exitCode).toBe(0);
    expect(await host().keystore().list()).toHaveLength(1);
  });

  test.each(["luks", "luksv2"])("by dm-crypt, into a volume of format %s", async (format) => {
    const profiles = [{ name: "default", format }];
    await host().settings({ version: 1, encryption: { engine: "dm-crypt" }, profiles });
    const { volume, guest, bytes } = await plainGuest();
    await host().must("convert", "web1", "vda");
    expect(openMappings()).toEqual([]);
    await expectNothingLeft(host());

    await host().start(guest);
    const [mapping] = openMappings();
    expect(mapping).toMatch(/^luksmith-vm1-luks-/);
    expect(digestOf(`/dev/mapper/${mapping}`, sizeOf(volume.path))).toBe(volume.digest);
    await host().stop(guest);
    expect(digestOf(volume.path)).toBe(bytes);
  });

  test("into a volume that is there, empty and large enough", async () => {
    const plain = await plainGuest();
    const target = group.create("other", 20 * MIB);
    execFileSync("blkdiscard", ["--zeroout", target]);
    await host().must("convert", "web1", "vda", "--to", target);

    await expectConverted(target, plain);
  });

  test("into a thin volume", async () => {
    group[Symbol.dispose]();
    group = new VolumeGroup({ thinPool: 64 * MIB });
    const plain = await plainGuest();
    await host().must("convert", "web1", "vda", "--pool", "pool");

    expect(group.field("vm1-luks", "pool_lv")).toBe("pool");
    await expectConverted(group.path("vm1-luks"), plain);
  });
});

/** `luksmith convert web1 vda` fails so, and the guest has its old volume, as it was. */
async function expectRefused(code: ErrorCode, plain: PlainGuest, ...args: readonly string[]): Promise<void> {
  const before = (await host().log()).length;
  const { exitCode, stderr } = await host().luksmith("convert", "web1", "vda", ...args);
  const errors = (await host().log()).slice(before).filter(({ level }) => level === "error");
  expect({ code: errors[0]?.code, exitCode }, stderr).toEqual({ code, exitCode: CATALOGUE[code].exit });
  await expectUntouched(plain);
}

describe("a conversion is refused, and nothing was changed,", () => {
  test("into what is there and is not empty, too small, or has a name that nobody said", async () => {
    const plain = await plainGuest();
    const keys = await host().keystore().list();
    const target = group.create("vm1-luks", 20 * MIB);
    execFileSync("blkdiscard", ["--zeroout", target]);
    await expectRefused("VOLUME_EXISTS", plain);
    execFileSync("mkfs.ext4", ["-q", target]);
    await expectRefused("VOLUME_NOT_EMPTY", plain, "--to", target);
    const small = group.create("small", 16 * MIB);
    execFileSync("blkdiscard", ["--zeroout", small]);
    await expectRefused("VOLUME_TOO_SMALL", plain, "--to", small);
    expect(digestOf(small)).toBe(digestOf("/dev/zero", 16 * MIB));
    await expectRefused("USAGE", plain, "--to", plain.volume.path);
    await expectRefused("USAGE", plain, "--to", "vm2");
    await expectRefused("USAGE", plain, "--to", `/${group.path("vm2")}`);
    const others = group.create("others", 20 * MIB);
    execFileSync("blkdiscard", ["--zeroout", others]);
    await host().define({ name: "web2", disks: [{ dev: "vda", path: others, format: "raw" }] });
    await expectRefused("VOLUME_BUSY", plain, "--to", others);
    lvm("lvcreate", "--quiet", "-y", "-s", "-l", "1", "-n", "snap", plain.volume.path);
    await expectRefused("VOLUME_UNSUPPORTED", plain);

    expect(await host().keystore().list()).toEqual(keys);
  });

  test("where there is no room, and works once there is", async () => {
    const plain = await plainGuest();
    const keys = await host().keystore().list();
    const other = group.create("other", 230 * MIB);
    await expectRefused("VOLUME_ALLOCATE_FAILED", plain);
    expect(await host().keystore().list()).toEqual(keys);

    lvm("lvremove", "--quiet", "-y", other);
    await host().must("convert", "web1", "vda");
    await expectConverted(group.path("vm1-luks"), plain);
  });

  test("while the guest runs, which has the volume open", async () => {
    await host().settings({ version: 1, legacy: { enabled: true } });
    const plain = await plainGuest();
    await host().start(plain.guest);
    const { exitCode, stderr } = await host().luksmith("convert", "web1", "vda");
    expect(exitCode, stderr).toBe(CATALOGUE.GUEST_RUNNING.exit);
    expect(stderr).toContain("it is running");
    expect(openMappings()).toEqual([plain.volume.mapping]);
    expect(digestOf(`/dev/mapper/${plain.volume.mapping}`)).toBe(plain.volume.digest);
    await host().stop(plain.guest);
  });
});

describe("a conversion that fails", () => {
  test("where the old volume cannot be read leaves the guest on it, and goes on afterwards", async () => {
    const profiles = [
      { name: "default", format: "luksv2" },
      { name: "other", format: "luks" },
    ];
    await host().settings({ version: 1, profiles });
    const plain = await plainGuest();
    const table = new DmTable(plain.volume.path);
    const failing = table.become(middleFails);
    const { stderr, exitCode } = await host().luksmith("convert", "web1", "vda");
    await failing[Symbol.asyncDispose]();
    expect(exitCode, stderr).toBe(CATALOGUE.CONVERT_FAILED.exit);
    expect(stderr).toContain("error while reading");
    await expectUntouched(plain);
    const states = (await host().keystore().list()).map(({ state }) => state);
    expect(states.sort()).toEqual(["active", "pending"]);

    // its key is made by then, and who decrypts follows from that
    await host().must("convert", "web1", "vda", "--profile", "other");
    expect(await host().definition(plain.guest)).toContain("/dev/mapper/luksmith-vm1-luks-");
    expect(await host().keystore().list()).toHaveLength(2);
    await expectNothingLeft(host());
    await host().settings({ version: 1, legacy: { enabled: true } });
    await host().start(plain.guest);
    const [mapping] = openMappings();
    expect(digestOf(`/dev/mapper/${mapping}`, sizeOf(plain.volume.path))).toBe(plain.volume.digest);
    await host().stop(plain.guest);
  });

  test("keeps its guest from starting while it copies", async () => {
    await host().settings({ version: 1, legacy: { enabled: true } });
    const plain = await plainGuest(32 * MIB);
    const converting = host().luksmith("convert", "web1", "vda");
    const copier = await pidOf("qemu-img");
    process.kill(copier, "SIGSTOP");
    const refused = await host().refusedStart(plain.guest);
    const { stdout: doctor } = await host().luksmith("doctor");
    // what else is edited meanwhile is kept
    await host().libvirt.define(plain.definition.replace("</name>", "</name><title>edited</title>"));
    process.kill(copier, "SIGCONT");

    expect(refused.code).toBe("MAPPING_BUSY");
    expect(refused.stderr).toContain("luksmith convert is copying");
    expect(doctor).toMatch(/mappings.*none orphaned/);
    const { exitCode, stderr } = await converting;
    expect(exitCode, stderr).toBe(0);
    await expectConverted(group.path("vm1-luks"), plain);
    expect(await host().definition(plain.guest)).toContain("<title>edited</title>");
  });

  test("goes on wherever it was killed", async () => {
    const plain = await plainGuest(8 * MIB);
    const target = group.path("vm1-luks");
    const state = host().inside("/var/lib/luksmith");
    const kept = join(host().libvirt.dir, "kept");
    execFileSync("cp", ["-a", state, kept]);
    const reset = async () => {
      lvm("lvremove", "--quiet", "-y", "-f", target);
      execFileSync("sh", ["-ec", 'find "$1" -mindepth 1 -delete; cp -a "$2"/. "$1"', "sh", state, kept]);
      await host().libvirt.define(plain.definition);
    };
    const argv = host().command("convert", "web1", "vda");
    const points = someOf(await killPoints(host(), { argv }), 6);
    await expectConverted(target, plain);
    const ends: string[] = [];
    for (const point of points) {
      await reset();
      ends.push(await runAndKill(host(), { argv }, point));
      const when = `after a kill at ${point.name} number ${point.n}`;
      expect(digestOf(plain.volume.path), when).toBe(plain.bytes);
      const { exitCode, stderr } = await host().luksmith("convert", "web1", "vda");
      expect({ exitCode, stderr }, when).toMatchObject({ exitCode: 0 });
      const states = (await host().keystore().list()).map((record) => record.state);
      // killed between its last two steps, the guest's next start activates the key
      if (states.includes("pending")) await startAndStop(plain.guest);
      await expectConverted(target, plain, when);
      expect(await host().definition(plain.guest), when).toContain(`<source dev='${target}'`);
      expect(openMappings(), when).toEqual([]);
      expect(await host().keystore().list(), when).toHaveLength(2);
    }
    expect(ends.filter((end) => end === "killed").length).toBeGreaterThan(points.length / 2);
  });
});

/** A line of a table: `START LENGTH linear DEVICE OFFSET`, in sectors. Tools look for signatures at both ends. */
function middleFails(line: string): string {
  const [start, length, kind, device, offset] = line.split(" ");
  const half = Number(length) / 2;
  const rest = half + 2048;
  return [
    `${start} ${half} ${kind} ${device} ${offset}`,
    `${Number(start) + half} 2048 error`,
    `${Number(start) + rest} ${Number(length) - rest} ${kind} ${device} ${Number(offset) + rest}`,
  ].join("\n");
}

async function startAndStop(guest: TestGuest): Promise<void> {
  await host().start(guest);
  await host().stop(guest);
}

/** Waits for a process of the host. */
async function pidOf(name: string): Promise<number> {
  for (;;) {
    const found = execFileSync("sh", ["-c", `pgrep -x ${name} || :`], { encoding: "utf8" }).trim();
    if (found !== "") return Number(found.split("\n")[0]);
    await sleep(5);
  }
}
