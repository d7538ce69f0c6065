import { randomBytes } from "node:crypto";
import { copyFile, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { expect, it, vi } from "vitest";
import { twoHostsForThisFile } from "./support/each-test.js";
import { inGuest } from "./support/in-guest.js";
import {
  COPY,
  diskOn,
  emptyVolumes,
  expectPatterns,
  keysOf,
  patternedGuest,
  refusedMigration,
  settled,
} from "./support/storage-copy.js";
import { hashOf, makeThickVolume, makeVolume, MIB } from "./support/volumes.js";

const hosts = twoHostsForThisFile();

it("a guest does not go on with empty disks when its storage is not copied; the next try may copy it", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw", "qcow2"]);
  await emptyVolumes(b, guest.disks);

  expect((await refusedMigration(hosts(), guest)).code).toBe("STORAGE_NOT_COPIED");

  const keys = await keysOf(b);
  expect(keys).toHaveLength(2);
  const half = await refusedMigration(hosts(), guest, COPY, "--migrate-disks", "vda");
  expect(half).toMatchObject({
    code: "STORAGE_NOT_COPIED",
    stderr: expect.stringMatching(/disk vdb would/) as string,
  });
  expect(await hosts().migrate(guest, a, b, COPY)).toMatchObject({ exitCode: 0, stderr: "" });
  expect(Object.values(await settled(b, guest)).sort()).toEqual(keys);
  expect(await keysOf(b)).toEqual(keys);
  await expectPatterns(b, guest);
});

it("a volume that both hosts share is not copied onto itself: libvirt says so, before the hook does", async () => {
  const { a, b } = hosts();
  const guest = await a.guest("web1", ["raw"]);
  await a.must("protect", "web1", "--now");
  await a.start(guest);
  await inGuest(a, guest, 0, "write -P 0x5a 4M 64k");
  await hosts().shareKeys();

  const { exitCode, stderr } = await hosts().migrate(guest, a, b, COPY);

  expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/block-export-add.*node is read-only/i)]);
  expect(await a.isRunning(guest)).toBe(true);
  expect(await b.guests()).toEqual({ running: [], all: [] });
  await vi.waitFor(async () => expect(await b.libvirt.secretsLeft()).toEqual([]), { timeout: 10_000 });
  expect(await keysOf(b)).toEqual([]);
  expect(await inGuest(a, guest, 0, "read -P 0x5a 4M 64k")).toBe("read 65536/65536");
  expect(await hosts().migrate(guest, a, b)).toMatchObject({ exitCode: 0, stderr: "" });
  expect(await inGuest(b, guest, 0, "read -P 0x5a 4M 64k")).toBe("read 65536/65536");
});

it("a copy of the source's volume is not copied onto: it would share its key", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw"]);
  const [disk, copy] = [diskOn(a, guest.disks[0]!), diskOn(b, guest.disks[0]!)];
  await copyFile(disk.path, copy.path);
  await hosts().shareKeys();
  const before = await hashOf(copy.path);

  expect((await refusedMigration(hosts(), guest, COPY)).code).toBe("COPY_SHARES_KEY");

  expect(await hashOf(copy.path)).toBe(before);
  expect(await keysOf(b)).toEqual([]);
});

it("a volume at the target that is not empty, or not there, is refused and not touched", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw", "raw"]);
  const [good, bad] = guest.disks.map((disk) => diskOn(b, disk).path) as [string, string];
  for (const [code, make] of [
    ["VOLUME_NOT_FOUND", undefined],
    ["VOLUME_NOT_EMPTY", () => writeFile(bad, randomBytes(8 * MIB))],
    ["VOLUME_NOT_EMPTY", () => makeVolume(bad, "qcow2")],
    ["VOLUME_NOT_PROVEN_EMPTY", () => makeThickVolume(bad)],
  ] as const) {
    // the disk that could be taken over is left alone as well
    await emptyVolumes(b, [guest.disks[0]!]);
    await rm(bad, { force: true });
    await make?.();
    const hashes = () => Promise.all([good, ...(make ? [bad] : [])].map(hashOf));
    const before = await hashes();

    expect((await refusedMigration(hosts(), guest, COPY)).code).toBe(code);

    expect(await hashes(), code).toEqual(before);
    expect(await keysOf(b), code).toEqual([]);
  }
  await expectPatterns(a, guest);
});

it("a volume that is smaller than the source's is not copied to, and the guest runs on", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw"]);
  const { path } = diskOn(b, guest.disks[0]!);
  await small(path, MIB);
  expect((await refusedMigration(hosts(), guest, COPY)).code).toBe("VOLUME_TOO_SMALL");
  expect((await readFile(path)).equals(Buffer.alloc(MIB))).toBe(true);

  // large enough for a header: only the two QEMU know the sizes
  await small(path, 6 * MIB);
  const { exitCode, stderr } = await hosts().migrate(guest, a, b, COPY);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/size/);
  expect(await a.isRunning(guest)).toBe(true);
  expect(await b.guests()).toEqual({ running: [], all: [] });
  await expectPatterns(a, guest);
});

/** Sparse. */
async function small(path: string, size: number): Promise<void> {
  await writeFile(path, "");
  await truncate(path, size);
}
