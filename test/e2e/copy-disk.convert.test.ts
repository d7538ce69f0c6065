import { execa } from "execa";
import { existsSync } from "node:fs";
import { expect, it, vi } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { hostForThisFile } from "./support/each-test.js";
import { killPoints, runAndKill, someOf } from "./support/killed.js";
import { keepWorld } from "./support/kill-sweep.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import type { TestGuest } from "./support/guests.js";
import { guestBytes, hashOf, MIB, writeAt } from "./support/volumes.js";

vi.setConfig({ testTimeout: 300_000 });

const host = hostForThisFile();

const TEXT = Buffer.from("what was there before");

/** A guest that is shut off, with one raw disk that holds something in its middle. */
async function guestWithData(): Promise<TestGuest> {
  const guest = await host().guest("web1", ["raw"]);
  await writeAt(guest.disks[0]!.path, 3 * MIB, TEXT);
  return guest;
}

/** The disk's bytes where the text is, by the key that the guest's configuration names. */
async function textIn(guest: TestGuest, path: string): Promise<string> {
  const { vda } = await host().blocks(guest);
  const { passphrase } = await host().key(vda);
  using secret = passphrase;
  return String(await guestBytes(path, "raw", secret, 3 * MIB, TEXT.length));
}

const pathOf = async (guest: TestGuest) =>
  /<source file=["']([^"']+)["']/.exec(
    await host().libvirt.virsh("dumpxml", "--inactive", guest.uuid),
  )?.[1] ?? "";

it("a disk with data is encrypted, runs, is decrypted again, and its old volumes are purged", async () => {
  const guest = await guestWithData();
  const old = guest.disks[0]!.path;
  const before = await hashOf(old);
  const refused = await host().refusedProtect("web1");
  expect(refused.hint).toContain("luksmith protect web1 --disk vda --convert");
  const dryRun = await host().must("protect", "web1", "--convert", "--dry-run");
  expect(dryRun).toMatch(/^would .*copy /m);
  expect(await pathOf(guest)).toBe(old);

  const said = await host().must("protect", "web1", "--convert");
  const path = await pathOf(guest);
  expect(path).toBe(old.replace(/\.(raw|img)$/, "") + ".luks.raw");
  expect(said).toContain("luksmith purge web1 vda");
  expect(await textIn(guest, path)).toBe(TEXT.toString());
  expect(await hashOf(old)).toBe(before);
  await host().start(guest);
  const running = await host().luksmith("purge", "web1", "--yes", "--dry-run");
  expect(running).toMatchObject({ exitCode: 0, stdout: `would remove ${old}\n` });
  await host().stop(guest);
  expect(await host().must("protect", "web1", "--convert")).toContain("already protected");

  const lines = (await host().must("unprotect", "web1", "--yes", "--json")).trim().split("\n");
  const events = lines.map((line) => JSON.parse(line) as { event: string; volume?: string });
  expect(events.at(-1)).toMatchObject({ event: "finished", volume: await pathOf(guest), oldVolume: path });
  expect(events.some(({ event }) => event === "progress")).toBe(true);
  expect(await hashOf(await pathOf(guest))).toBe(before);
  await host().start(guest);
  await host().stop(guest);

  await host().must("purge", "web1", "--yes", "--wipe");
  expect([existsSync(old), existsSync(path), existsSync(await pathOf(guest))]).toEqual([false, false, true]);
  expect(await host().must("purge", "web1", "--yes")).toContain("no old volume is left");
  await expectNothingLeft(host());
});

it("is not decrypted while somebody asks for encryption, or without being asked", async () => {
  const guest = await guestWithData();
  await host().must("protect", "web1", "--convert");
  expect((await host().luksmith("unprotect", "web1")).exitCode).toBe(CATALOGUE.USAGE.exit);
  await host().settings({ version: 1, rules: [{ name: "all" }] });
  const { exitCode, stderr } = await host().luksmith("unprotect", "web1", "--yes");
  expect({ exitCode, named: stderr.includes("rule all") }, stderr).toEqual({
    exitCode: CATALOGUE.REQUEST_CONFLICT.exit,
    named: true,
  });
  expect(await textIn(guest, await pathOf(guest))).toBe(TEXT.toString());
});

it("goes on wherever it was killed, and the old volume is never touched", async () => {
  const guest = await guestWithData();
  const old = guest.disks[0]!.path;
  const before = await hashOf(old);
  const definition = await host().definition(guest);
  const restore = await keepWorld(host());
  const reset = async () => {
    await restore();
    await host().libvirt.define(definition);
  };
  await reset();
  const argv = host().command("protect", "web1", "--convert");
  const points = someOf(await killPoints(host(), { argv }), 8);
  const ends: string[] = [];
  for (const point of points) {
    await reset();
    ends.push(await runAndKill(host(), { argv }, point));
    const when = `after a kill at ${point.name} number ${point.n}`;
    expect(await hashOf(old), when).toBe(before);
    const { exitCode, stderr } = await host().luksmith("protect", "web1", "--convert");
    expect({ exitCode, stderr }, when).toMatchObject({ exitCode: 0 });
    // killed between its last two steps, the guest's next start activates the key
    await host().start(guest);
    await host().stop(guest);
    const keys = await host().keystore().list();
    expect(
      keys.map(({ state }) => state),
      when,
    ).toEqual(["active"]);
    expect(await textIn(guest, await pathOf(guest)), when).toBe(TEXT.toString());
    expect(await hashOf(old), when).toBe(before);
    await expectNothingLeft(host());
  }
  expect(ends.filter((end) => end === "killed").length).toBeGreaterThan(points.length / 2);
});

it("a purge that is killed anywhere goes on, and never touches the new volume", async () => {
  const guest = await guestWithData();
  const old = guest.disks[0]!.path;
  const definition = await host().definition(guest);
  const restore = await keepWorld(host());
  // what is copied back is not the volume that was noted: it is converted anew
  const reset = async () => {
    await restore();
    await host().libvirt.define(definition);
    await host().must("protect", "web1", "--convert");
  };
  const argv = host().command("purge", "web1", "--yes", "--wipe");
  await reset();
  const points = someOf(await killPoints(host(), { argv }), 6);
  const ends: string[] = [];
  for (const point of points) {
    await reset();
    const path = await pathOf(guest);
    const before = await hashOf(path);
    ends.push(await runAndKill(host(), { argv }, point));
    const when = `after a kill at ${point.name} number ${point.n}`;
    const { exitCode, stderr } = await host().luksmith("purge", "web1", "--yes", "--wipe");
    expect(exitCode, `${when}: ${stderr}`).toBe(0);
    expect(await host().must("purge", "web1", "--yes"), when).toContain("no old volume is left");
    expect([existsSync(old), await hashOf(path)], when).toEqual([false, before]);
    await expectNothingLeft(host());
  }
  expect(ends.filter((end) => end === "killed").length).toBeGreaterThan(points.length / 2);
});

it("of several disks none is converted if one of them cannot be", async () => {
  const guest = await host().guest("web1", ["raw", "qcow2"]);
  const definition = await host().definition(guest);
  await writeAt(guest.disks[0]!.path, 3 * MIB, TEXT);
  const before = await hashOf(guest.disks[0]!.path);
  const inPlace = await host().luksmith("protect", "web1", "--convert", "--in-place");
  expect(inPlace.exitCode, inPlace.stderr).toBe(CATALOGUE.VOLUME_UNSUPPORTED.exit);
  await execa("qemu-img", ["snapshot", "-c", "one", guest.disks[1]!.path]);
  const copied = await host().luksmith("protect", "web1", "--convert");
  expect(copied.exitCode, copied.stderr).toBe(CATALOGUE.VOLUME_UNSUPPORTED.exit);
  expect(await host().definition(guest)).toBe(definition);
  expect(await hashOf(guest.disks[0]!.path)).toBe(before);
  expect(await host().keystore().list()).toEqual([]);
});
