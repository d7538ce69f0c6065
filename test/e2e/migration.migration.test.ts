import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import type { StatusOutput } from "../../src/generated/status.js";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import type { LuksmithHost } from "./support/luksmith-host.js";
import { type ImageFormat, makeVolume } from "./support/volumes.js";
import { checkWriting, defineWriter, writesOn } from "./support/writing-guest.js";
import { expectNothingLeft } from "./support/nothing-left.js";

const hosts = twoHostsForThisFile();
const DONE = { exitCode: 0, stderr: "" };

describe("a guest whose volumes and keys both hosts have", () => {
  it.each<ImageFormat>(["raw", "qcow2"])(
    "writes its %s disk on, over a migration by TCP, and back by UNIX sockets",
    async (format) => {
      const { a, b } = hosts();
      const path = a.newPath(format);
      await makeVolume(path, format);
      const guest = await defineWriter(a, { name: "writer", disks: [{ dev: "vda", path, format }] });
      await a.must("protect", "writer");
      await a.start(guest);
      await hosts().shareKeys();
      const { vda } = await a.blocks(guest);
      const keys = [await bytesOf(a), await bytesOf(b)];
      await writesOn(a, guest);

      expect(await hosts().migrate(guest, a, b)).toMatchObject(DONE);
      expect(await whereIs(guest)).toEqual({ running: ["b"], defined: ["b"] });
      expect([await a.libvirt.secretsLeft(), await b.libvirt.secretsLeft()]).toEqual([[], [vda]]);
      expect(await b.blocks(guest)).toEqual({ vda });
      expect(await readStatus(b, guest)).toMatchObject({
        disks: [{ device: "vda", protection: "encrypted", keystore: "other" }, { device: "fda" }],
      });
      await expectNothingLeft(a, [a, b]);
      const onB = await writesOn(b, guest);

      expect(await hosts().migrateBySockets(guest, b, a)).toMatchObject(DONE);
      expect(await whereIs(guest)).toEqual({ running: ["a"], defined: ["a"] });
      expect([await a.libvirt.secretsLeft(), await b.libvirt.secretsLeft()]).toEqual([[vda], []]);
      const last = await writesOn(a, guest);
      // it was never started again
      expect([onB.began, last.began]).toEqual([1, 1]);
      expect(last.written).toBeGreaterThan(onB.written);
      await a.stop(guest);
      expect(await written(guest)).toBeGreaterThanOrEqual(last.written);
      expect([await bytesOf(a), await bytesOf(b)]).toEqual(keys);
    },
  );

  it("goes there and back time and again, with two disks", { timeout: 120_000 }, async () => {
    const { a, b } = hosts();
    const guest = await runningOnA("web1");
    const secrets = Object.values(await a.blocks(guest)).sort();
    for (let n = 0; n < 6; n++) {
      const [from, to] = n % 2 === 0 ? [a, b] : [b, a];
      expect(await hosts().migrate(guest, from, to)).toMatchObject(DONE);
      await expectNothingLeft(from, [a, b]);
      expect([await from.libvirt.secretsLeft(), (await to.libvirt.secretsLeft()).sort()]).toEqual([
        [],
        secrets,
      ]);
    }
  });

  it("goes together with four others", async () => {
    const { a, b } = hosts();
    const guests: TestGuest[] = [];
    for (const name of ["web1", "web2", "web3", "web4", "web5"]) guests.push(await definedOnA(name));
    await hosts().shareKeys();
    await Promise.all(guests.map((guest) => a.start(guest)));
    const all = await Promise.all(guests.map((guest) => hosts().migrate(guest, a, b)));
    for (const migrated of all) expect(migrated).toMatchObject(DONE);
    expect((await b.guests()).running.sort()).toEqual(guests.map(({ uuid }) => uuid).sort());
    expect([await a.libvirt.secretsLeft(), (await b.libvirt.secretsLeft()).length]).toEqual([[], 10]);
  });

  it("stays suspended", async () => {
    const { a, b } = hosts();
    const guest = await runningOnA("web1");
    await a.libvirt.virsh("suspend", guest.uuid);
    expect(await hosts().migrate(guest, a, b)).toMatchObject(DONE);
    expect(await b.libvirt.virsh("domstate", guest.uuid)).toContain("paused");
    await b.libvirt.virsh("resume", guest.uuid);
    expect(await b.libvirt.virsh("domstate", guest.uuid)).toContain("running");
  });

  it.each([["--p2p"], ["--p2p --tunnelled"]])("goes with %s", async (flags) => {
    const { a, b } = hosts();
    const guest = await runningOnA("web1");
    expect(await hosts().migrate(guest, a, b, ...flags.split(" "))).toMatchObject(DONE);
    expect(await whereIs(guest)).toEqual({ running: ["b"], defined: ["b"] });
  });

  it("is transient on the target without --persistent, and leaves nothing there when it stops", async () => {
    const { a, b } = hosts();
    const guest = await runningOnA("web1");
    const command = ["migrate", "--live", "--unsafe", guest.uuid, hosts().uri(b)];
    await a.libvirt.virsh(...command);
    expect(await whereIs(guest)).toEqual({ running: ["b"], defined: ["a", "b"] });
    expect(await b.libvirt.secretsLeft()).toHaveLength(2);
    expect(await b.luksmith("status", "web1")).toMatchObject({
      exitCode: CATALOGUE.GUEST_NOT_FOUND.exit,
      stderr: expect.stringMatching(/transient[^]*virsh define/) as string,
    });
    await b.stop(guest);
    expect((await b.guests()).all).toEqual([]);
    await expectNothingLeft(b, [a, b]);
    // its definition has stayed behind
    await a.start(guest);
  });
});

async function definedOnA(name: string): Promise<TestGuest> {
  const guest = await hosts().a.guest(name, ["raw", "raw"]);
  await hosts().a.must("protect", name, "--now");
  return guest;
}

async function runningOnA(name: string): Promise<TestGuest> {
  const guest = await definedOnA(name);
  await hosts().shareKeys();
  await hosts().a.start(guest);
  return guest;
}

async function whereIs({ uuid }: TestGuest): Promise<{ running: string[]; defined: string[] }> {
  const [running, defined]: string[][] = [[], []];
  for (const name of ["a", "b"] as const) {
    const guests = await hosts()[name].guests();
    if (guests.running.includes(uuid)) running!.push(name);
    if (guests.all.includes(uuid)) defined!.push(name);
  }
  return { running: running!, defined: defined! };
}

async function readStatus(host: LuksmithHost, { name }: TestGuest): Promise<object | undefined> {
  return ((await host.json("status", name)) as StatusOutput).guests[0];
}

/** Path → hash of everything in the host's keystores. */
async function bytesOf(host: LuksmithHost): Promise<Record<string, string>> {
  const directory = host.inside("/var/lib/luksmith");
  const hashes: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !path.includes("/keystore")) continue;
    hashes[path] = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  }
  return hashes;
}

async function written(guest: TestGuest): Promise<number> {
  const { vda } = await hosts().a.blocks(guest);
  const { passphrase } = await hosts().a.key(vda);
  using secret = passphrase;
  return (await checkWriting(guest.disks[0]!, secret)).written;
}
