import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { lvm, VolumeGroup } from "../lab/volume-group.js";
import { LoopDevice } from "../lab/loop-device.js";
import type { TestGuest } from "./support/guests.js";
import { hostForThisFile } from "./support/each-test.js";
import { killPoints, runAndKill, someOf } from "./support/killed.js";
import { keepWorld } from "./support/kill-sweep.js";
import { digestInLuks, digestOf, openMappings, sizeOf } from "./support/legacy-volumes.js";
import { bytesAt, guestOn } from "./support/mapped.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { MIB } from "./support/volumes.js";

// a guest's start alone takes many seconds in User-Mode Linux
vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

const SIZE = 16 * MIB;

let group: VolumeGroup;

beforeEach(() => {
  group = new VolumeGroup();
});
// registered before the host's own, so that it runs after that: hooks of one kind run in reverse
afterEach(() => group[Symbol.dispose]());

const host = hostForThisFile();

interface Device {
  readonly path: string;
  /** Of its bytes, none of which any other volume has. */
  readonly digest: string;
}

function filled(path: string): Device {
  writeFileSync(path, randomBytes(SIZE), { flush: true });
  return { path, digest: digestOf(path, SIZE) };
}

/** By QEMU alone: the digest of what the guest sees where its data are. */
async function seenIn(guest: TestGuest, path: string): Promise<string> {
  const { vda } = await host().blocks(guest);
  const { record, passphrase } = await host().key(vda);
  using secret = passphrase;
  expect(record).toMatchObject({ state: "active", volume: path });
  expect(record).not.toHaveProperty("conversion");
  return digestInLuks(path, secret, SIZE, host().libvirt.dir);
}

const isZero = (bytes: Buffer) => bytes.every((byte) => byte === 0);

test("a logical volume is enlarged and encrypted in place, runs, and is decrypted again", async () => {
  const { path, digest } = filled(group.create("vm1", SIZE));
  const guest = await guestOn(host(), "web1", path);
  const before = await host().definition(guest);
  lvm("lvcreate", "--quiet", "-y", "-s", "-l", "1", "-n", "snap", path);
  const snapped = await host().luksmith("protect", "web1", "--convert", "--in-place");
  expect(snapped.exitCode, snapped.stderr).toBe(CATALOGUE.VOLUME_UNSUPPORTED.exit);
  lvm("lvremove", "--quiet", "-y", `${group.name}/snap`);
  expect([digestOf(path), await host().definition(guest)]).toEqual([digest, before]);

  lvm("lvchange", "-an", path);
  await host().must("protect", "web1", "--convert", "--in-place");
  expect(group.field("vm1", "lv_active")).toBe("");
  lvm("lvchange", "-ay", path);
  expect(sizeOf(path)).toBe(SIZE + 4 * MIB);
  expect(await seenIn(guest, path)).toBe(digest);
  expect(bytesAt(path, 0, SIZE).includes("LUKSMITH MOVING")).toBe(false);
  expect(openMappings()).toEqual([]);
  await host().start(guest);
  await host().stop(guest);
  await expectNothingLeft(host());

  const said = await host().must("unprotect", "web1", "--yes", "--in-place");
  expect(said).toContain("not encrypted any more");
  expect(digestOf(path, SIZE)).toBe(digest);
  expect(isZero(bytesAt(path, SIZE + 2 * MIB, 2 * MIB))).toBe(true);
  expect(await host().definition(guest)).toBe(before);
});

test(
  "killed anywhere on its way, it goes on, and no byte of the volume is lost",
  {
    timeout: 900_000,
  },
  async () => {
    const { path, digest } = filled(group.create("vm1", SIZE));
    const guest = await guestOn(host(), "web1", path);
    const before = await host().definition(guest);
    const bytes = join(host().libvirt.dir, "bytes");
    execFileSync("cp", [path, bytes]);
    const restore = await keepWorld(host());
    const reset = async () => {
      lvm("lvresize", "--quiet", "-y", "-f", "--size", `${SIZE}b`, path);
      execFileSync("dd", [`if=${bytes}`, `of=${path}`, "bs=1M", "conv=fsync", "status=none"]);
      await restore();
      await host().libvirt.define(before);
    };
    const argv = host().command("protect", "web1", "--convert", "--in-place");
    const points = someOf(await killPoints(host(), { argv }), 4);
    const ends: string[] = [];
    for (const point of points) {
      await reset();
      ends.push(await runAndKill(host(), { argv }, point));
      const when = `after a kill at ${point.name} number ${point.n}`;
      const { exitCode, stderr } = await host().luksmith("protect", "web1", "--convert", "--in-place");
      expect({ exitCode, stderr }, when).toMatchObject({ exitCode: 0 });
      expect(await seenIn(guest, path), when).toBe(digest);
      expect(sizeOf(path), when).toBe(SIZE + 4 * MIB);
      expect(await host().keystore().list(), when).toHaveLength(1);
      await expectNothingLeft(host());
    }
    expect(ends.filter((end) => end === "killed").length).toBeGreaterThan(points.length / 2);
  },
);

test("where the volume group is full, nothing is changed, and it works once there is room", async () => {
  const { path, digest } = filled(group.create("vm1", SIZE));
  const other = group.create("other", 236 * MIB - SIZE);
  const full = Number(group.field("vm1", "vg_free_count"));
  if (full > 0) lvm("lvcreate", "--quiet", "-y", "-l", String(full), "-n", "rest", group.name);
  const guest = await guestOn(host(), "web1", path);
  const before = await host().definition(guest);
  const { exitCode, stderr } = await host().luksmith("protect", "web1", "--convert", "--in-place");
  expect(exitCode, stderr).toBe(CATALOGUE.VOLUME_GROW_FAILED.exit);
  expect([digestOf(path), await host().definition(guest)]).toEqual([digest, before]);
  expect(await host().keystore().list()).toEqual([]);

  lvm("lvremove", "--quiet", "-y", other);
  await host().must("protect", "web1", "--convert", "--in-place");
  expect(await seenIn(guest, path)).toBe(digest);
});

test("a block device has no room for a header, and is copied to another one, which is decrypted in place", async () => {
  using old = new LoopDevice(SIZE);
  using larger = new LoopDevice(SIZE + 2 * MIB);
  const { digest } = filled(old.path);
  const guest = await guestOn(host(), "web1", old.path);
  const refused = await host().luksmith("protect", "web1", "--convert", "--in-place");
  expect(refused.exitCode, refused.stderr).toBe(CATALOGUE.VOLUME_GROW_FAILED.exit);
  expect(refused.stderr).toContain("--to");
  expect(digestOf(old.path)).toBe(digest);

  await host().must("protect", "web1", "--convert", "--to", larger.path);
  expect(await seenIn(guest, larger.path)).toBe(digest);
  expect(digestOf(old.path)).toBe(digest);

  await host().must("unprotect", "web1", "--yes", "--in-place");
  expect(digestOf(larger.path, SIZE)).toBe(digest);
  expect(isZero(bytesAt(larger.path, SIZE, 2 * MIB))).toBe(true);
  const kept = await host().luksmith("purge", "web1", "--yes");
  expect(kept.exitCode, kept.stderr).toBe(CATALOGUE.VOLUME_UNSUPPORTED.exit);
  expect(kept.stderr).toContain("say --wipe");
  expect(digestOf(old.path)).toBe(digest);
  await host().must("purge", "web1", "--yes", "--wipe");
  expect(digestOf(old.path)).not.toBe(digest);
});

test("logical volumes are copied to encrypted and to plain ones, and the old ones are removed", async () => {
  const { path, digest } = filled(group.create("vm1", SIZE));
  const guest = await guestOn(host(), "web1", path);
  lvm("lvchange", "-an", path);
  await host().must("protect", "web1", "--convert");
  const encrypted = group.path("vm1-luks");
  expect(group.field("vm1", "lv_active")).toBe("");
  lvm("lvchange", "-ay", path);
  expect(await seenIn(guest, encrypted)).toBe(digest);
  expect(digestOf(path)).toBe(digest);
  await host().start(guest);
  const bystander = filled(group.create("vm2", SIZE));
  expect(await host().must("purge", "web1", "--yes")).toContain(`removed ${path}\n`);
  expect([existsSync(path), existsSync(encrypted)]).toEqual([false, true]);
  await host().stop(guest);
  expect(await seenIn(guest, encrypted)).toBe(digest);

  await host().must("unprotect", "web1", "--yes");
  const definition = await host().definition(guest);
  const plain = /<source dev='([^']+)'/.exec(definition)?.[1] ?? "";
  expect(digestOf(plain, SIZE)).toBe(digest);
  lvm("lvchange", "-an", encrypted);
  await host().must("purge", "web1", "--yes", "--wipe");
  expect([existsSync(encrypted), existsSync(plain)]).toEqual([false, true]);
  expect(digestOf(plain, SIZE)).toBe(digest);
  expect(digestOf(bystander.path)).toBe(bystander.digest);
});
