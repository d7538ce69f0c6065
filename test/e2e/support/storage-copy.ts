import { expect, vi } from "vitest";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import type { GuestDisk, TestGuest } from "./guests.js";
import { inGuest } from "./in-guest.js";
import { leftBehind } from "./leftovers.js";
import type { LuksmithHost } from "./luksmith-host.js";
import type { TwoHosts } from "./two-hosts.js";
import { type ImageFormat, makeVolume } from "./volumes.js";

/** Has QEMU send what the guest sees of its disks to the target's QEMU, which writes it to the volumes there. */
export const COPY = "--copy-storage-all";

/** New volumes on host a that host b does not see, for vda, vdb, …; none are on b yet. */
export async function disksApart(
  { a, apart }: TwoHosts,
  name: string,
  formats: readonly ImageFormat[],
): Promise<GuestDisk[]> {
  const disks = formats.map((format, index): GuestDisk => {
    const dev = `vd${String.fromCharCode(97 + index)}`;
    return { dev, format, path: `${apart}/${name}-${dev}.${format}` };
  });
  await emptyVolumes(a, disks);
  return disks;
}

/** Makes volumes of the size that all tests' volumes have, where the disks' paths are on this host. */
export async function emptyVolumes(host: LuksmithHost, disks: readonly GuestDisk[]): Promise<void> {
  for (const disk of disks) await makeVolume(diskOn(host, disk).path, disk.format);
}

/** The disk with its path as the test sees it. */
export function diskOn(host: LuksmithHost, disk: GuestDisk): GuestDisk {
  return { ...disk, path: host.inside(disk.path) };
}

/** Device name → secret UUID of the encryption blocks that the guest runs with. */
export async function runningBlocks(host: LuksmithHost, guest: TestGuest): Promise<Record<string, string>> {
  const xml = await host.libvirt.virsh("dumpxml", "--security-info", guest.uuid);
  return Object.fromEntries(
    [...xml.matchAll(/<disk .*?<\/disk>/gs)].flatMap(([disk]) => {
      const uuid = /<secret .*?uuid='([^']+)'/.exec(disk)?.[1];
      return uuid === undefined ? [] : [[/<target dev='([^']+)'/.exec(disk)![1]!, uuid] as const];
    }),
  );
}

/** Waits until the guest's persistent definition names the keys that it runs with, and nobody is at it any more. */
export async function settled(host: LuksmithHost, guest: TestGuest): Promise<Record<string, string>> {
  const running = await runningBlocks(host, guest);
  await vi.waitFor(
    async () => {
      expect(await host.blocks(guest)).toEqual(running);
      expect(leftBehind(host)).toEqual([]);
    },
    { timeout: 20_000, interval: 100 },
  );
  return running;
}

const PATTERN = "-P 0x5a 4M 64k";

/** Runs at a, with a pattern on each disk. */
export async function patternedGuest(hosts: TwoHosts, formats: readonly ImageFormat[]): Promise<TestGuest> {
  const { a } = hosts;
  const guest = await a.define({ name: "web1", disks: await disksApart(hosts, "web1", formats) });
  await a.must("protect", "web1");
  await a.start(guest);
  for (const disk of guest.disks.keys()) await inGuest(a, guest, disk, `write ${PATTERN}`);
  return guest;
}

export async function expectPatterns(host: LuksmithHost, guest: TestGuest): Promise<void> {
  for (const disk of guest.disks.keys())
    expect(await inGuest(host, guest, disk, `read ${PATTERN}`)).toBe("read 65536/65536");
}

/** UUIDs of the keys in the host's own keystore. */
export async function keysOf(host: LuksmithHost): Promise<string[]> {
  return (await host.keystore().list()).map(({ uuid }) => uuid).sort();
}

interface RefusedMigration {
  readonly code: ErrorCode | undefined;
  readonly stderr: string;
}

/** The migration from a to b fails, b's log says why and virsh says the same; the guest runs on at a, and is not at b. */
export async function refusedMigration(
  hosts: TwoHosts,
  guest: TestGuest,
  ...flags: string[]
): Promise<RefusedMigration> {
  const { a, b } = hosts;
  const before = (await b.log()).length;
  const { exitCode, stderr } = await hosts.migrate(guest, a, b, ...flags);
  const error = (await b.log()).slice(before).find(({ level }) => level === "error");
  expect(exitCode, stderr).toBe(1);
  expect(stderr).toContain(`error: ${error?.what ?? "(nothing in the log)"}`);
  if (error?.hint !== undefined) expect(stderr).toContain(error.hint);
  expect(error?.what).toMatch(/^cannot (?:take over guest|format volume)/);
  expect(await a.isRunning(guest)).toBe(true);
  expect(await b.guests()).toEqual({ running: [], all: [] });
  expect(await b.libvirt.secretsLeft()).toEqual([]);
  return { code: error?.code, stderr };
}
