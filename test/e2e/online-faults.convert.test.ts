import { execa } from "execa";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, vi } from "vitest";
import type { TestGuest } from "./support/guests.js";
import { hostForThisFile } from "./support/each-test.js";
import { beginConversion, convertRunning, jobOf, volumeOf } from "./support/online.js";
import { makeVolume, MIB } from "./support/volumes.js";
import { defineWriter, writesOn } from "./support/writing-guest.js";

const host = hostForThisFile();
// guests write on meanwhile, on a machine that is busy with other tests
vi.setConfig({ testTimeout: 180_000 });

/** Of the disk; at SLOW bytes a second its copy outlasts every test. */
const SIZE = 64 * MIB;
const SLOW = MIB;

it("a conversion that is killed leaves the guest as it is, and the next call goes on with its copy", async () => {
  const guest = await writer();
  const path = host().newPath("raw");
  const first = await beginConversion(host(), guest, "vda", { to: "encrypted", path, rate: SLOW });
  await first.signal("SIGKILL");
  await first.ended;
  await sleep(500);
  expect(await jobOf(host(), guest, "vda")).toContain("Block Copy");
  expect(await volumes(guest)).toEqual([oldOf(guest), oldOf(guest)]);
  const { exitCode, stdout, stderr } = await convertRunning(host(), guest, "vda", { to: "encrypted", path });
  expect(stderr).toBe("");
  expect(stdout).toContain("found the copy of an earlier call");
  expect([exitCode, ...(await volumes(guest))]).toEqual([0, path, path]);
  await restarted(guest);
});

it("Ctrl-C ends the copy and takes the new volume away; the guest notices nothing", async () => {
  const guest = await writer();
  const path = host().newPath("raw");
  const first = await beginConversion(host(), guest, "vda", { to: "encrypted", path, rate: SLOW });
  await first.signal("SIGINT");
  const { exitCode, said } = await first.ended;
  expect(said).toContain("it was interrupted");
  expect(exitCode).toBe(1);
  expect(await jobOf(host(), guest, "vda")).toBe("");
  expect(await host().libvirt.secretsLeft()).toEqual([]);
  expect(existsSync(path)).toBe(false);
  expect(await volumes(guest)).toEqual([oldOf(guest), oldOf(guest)]);
  await restarted(guest);
});

it("a guest that stops meanwhile has its old volume, and is converted when it runs again", async () => {
  const guest = await writer();
  const path = host().newPath("raw");
  const first = await beginConversion(host(), guest, "vda", { to: "encrypted", path, rate: SLOW });
  await host().stop(guest);
  expect((await first.ended).said).toContain("it has stopped");
  expect(await volumeOf(host(), guest, "vda", "persistent")).toBe(oldOf(guest));
  await host().start(guest);
  await writesOn(host(), guest);
  const again = await convertRunning(host(), guest, "vda", { to: "encrypted", path });
  expect(again.stderr).toBe("");
  expect(await volumes(guest)).toEqual([path, path]);
  await restarted(guest);
});

it("a plain volume that was copied to in part is written anew; purge removes the encrypted one", async () => {
  const guest = await writer("protected");
  const conversion = { to: "plain" } as const;
  const first = await beginConversion(host(), guest, "vda", { ...conversion, rate: SLOW });
  await writesOn(host(), guest);
  await first.signal("SIGKILL");
  await first.ended;
  await host().stop(guest);
  await host().start(guest);
  await writesOn(host(), guest);
  const { stderr } = await convertRunning(host(), guest, "vda", conversion);
  expect(stderr).toBe("");
  expect(await host().blocks(guest)).toEqual({});
  await writesOn(host(), guest);
  await host().must("purge", guest.name, "--yes");
  expect(existsSync(oldOf(guest))).toBe(false);
  await restarted(guest);
});

it("libvirtd is killed meanwhile: the copy goes on, and so does whoever waits for it", async () => {
  const guest = await writer();
  const path = host().newPath("raw");
  const first = await beginConversion(host(), guest, "vda", { to: "encrypted", path, rate: 16 * MIB });
  await host().libvirt.exec(["sh", "-c", "kill -9 $(cat /run/libvirtd.pid)"]);
  await sleep(1000);
  await host().libvirt.startDaemon();
  const { exitCode, said } = await first.ended;
  expect(exitCode, said).toBe(0);
  expect(await volumes(guest)).toEqual([path, path]);
  const { vda } = await host().blocks(guest);
  expect(await host().libvirt.secretsLeft(), "the new libvirtd has it as well").toEqual([vda]);
  await restarted(guest);
});

it("a new volume that somebody removes is not given to the guest", async () => {
  const guest = await writer();
  const path = host().newPath("raw");
  const first = await beginConversion(host(), guest, "vda", { to: "encrypted", path, rate: 16 * MIB });
  await rm(path);
  const { exitCode, said } = await first.ended;
  expect(said).toContain("its new volume is gone");
  expect(exitCode).toBe(1);
  expect(await jobOf(host(), guest, "vda")).toBe("");
  expect(await volumes(guest)).toEqual([oldOf(guest), oldOf(guest)]);
  await restarted(guest);
});

it("storage that is full ends the copy; the guest goes on, and the storage is as it was", async () => {
  const guest = await writer();
  const directory = join(host().images, "small");
  await mkdir(directory);
  // as the host sees it, so that unmounting it is the host's end
  await host().libvirt.exec(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", directory]);
  try {
    const path = join(directory, "new.raw");
    const { exitCode, stderr } = await convertRunning(host(), guest, "vda", { to: "encrypted", path });
    expect(stderr).toContain("its QEMU has ended the copy");
    expect(exitCode).toBe(1);
    expect((await host().libvirt.exec(["ls", directory])).stdout).toBe("");
    expect(await volumes(guest)).toEqual([oldOf(guest), oldOf(guest)]);
    await writesOn(host(), guest);
  } finally {
    await host().stopGuests();
    await host().libvirt.exec(["umount", directory]);
  }
});

it("a decryption that is killed once the guest has its new volume is ended by the next call", async () => {
  const guest = await writer("protected");
  const { vda: key } = await host().blocks(guest);
  const first = await beginConversion(host(), guest, "vda", { to: "plain", rate: 16 * MIB });
  while ((await volumeOf(host(), guest, "vda", "persistent")) === oldOf(guest)) await sleep(10);
  await first.signal("SIGKILL");
  await first.ended;
  expect(await host().blocks(guest)).toEqual({});
  // it may have come to its end before the kill
  const left = await host().libvirt.secretsLeft();
  const { exitCode, stdout, stderr } = await convertRunning(host(), guest, "vda", { to: "plain" });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(left).toEqual(left.length === 0 ? [] : [key]);
  expect(stdout).toContain(left.length === 0 ? '"unchanged"' : '"finished"');
  expect(await host().libvirt.secretsLeft()).toEqual([]);
  expect((await host().libvirt.virsh("domstate", guest.uuid)).trim()).toBe("running");
  await restarted(guest);
});

async function writer(state?: "protected"): Promise<TestGuest> {
  const path = host().newPath("raw");
  await makeVolume(path, "raw");
  await execa("truncate", ["-s", String(SIZE), path]);
  const guest = await defineWriter(host(), { name: "writer", disks: [{ dev: "vda", path, format: "raw" }] });
  if (state === "protected") await host().must("protect", guest.name);
  await host().start(guest);
  await writesOn(host(), guest);
  return guest;
}

function oldOf(guest: TestGuest): string {
  return guest.disks[0]!.path;
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
