import { existsSync } from "node:fs";
import { afterEach, expect, it, vi } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { fakeOldVersions } from "./support/fake-old-versions.js";
import type { TestGuest } from "./support/guests.js";
import { inGuest } from "./support/in-guest.js";
import { bytesAt, guestOn, mappedDisks } from "./support/mapped.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { volumesForThisFile } from "./support/volume-group.js";
import { MIB } from "./support/volumes.js";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const volumes = volumesForThisFile();
const host = hostForThisFile();

/** What is to be put right after a test, whatever came of it. */
let upgrade: (() => Promise<void>) | undefined;
afterEach(async () => {
  await upgrade?.();
  upgrade = undefined;
});

async function downgradeHost(): Promise<void> {
  upgrade = await fakeOldVersions(host().libvirt);
}

/** As a package upgrade does it: the guests run on. */
async function upgradeHost(): Promise<void> {
  await upgrade?.();
  upgrade = undefined;
  await host().libvirt.restartDaemon();
}

async function write(guest: TestGuest, range: string): Promise<void> {
  expect(await inGuest(host(), guest, 0, `write -P 0x5a ${range}`)).toBe("wrote 65536/65536");
  await inGuest(host(), guest, 0, "flush");
}

async function expectWritten(guest: TestGuest, ...ranges: readonly string[]): Promise<void> {
  for (const range of ranges)
    expect(await inGuest(host(), guest, 0, `read -P 0x5a ${range}`)).toBe("read 65536/65536");
}

/** Runs a command that must not change a byte of the volume. */
async function withoutChange(path: string, work: () => Promise<unknown>): Promise<void> {
  const before = bytesAt(path, 0, 16 * MIB);
  await work();
  expect(bytesAt(path, 0, 16 * MIB).equals(before)).toBe(true);
}

async function stepsSince(count: number): Promise<unknown[]> {
  return (await host().log()).slice(count).map(({ steps }) => steps);
}

it("a guest that old versions gave to dm-crypt survives an upgrade, and is given to QEMU when it is asked for", async () => {
  const volume = volumes.newVolume();
  const guest = await guestOn(host(), "web1", volume);
  await downgradeHost();
  expect((await host().refusedProtect("web1", "--engine", "native")).code).toBe("TRAIT_MISSING");
  await host().must("protect", "web1");
  const { device } = (await mappedDisks(host(), guest))["vda"]!;
  await host().start(guest);
  await write(guest, "1M 64k");

  await upgradeHost();
  await expectWritten(guest, "1M 64k");
  await host().stop(guest);
  expect(existsSync(device)).toBe(false);
  await expectNothingLeft(host());

  // it stays with dm-crypt
  const started = (await host().log()).length;
  await host().start(guest);
  await expectWritten(guest, "1M 64k");
  await write(guest, "2M 64k");
  await host().stop(guest);
  expect(await stepsSince(started)).toEqual([["open-mapping"], ["close-mapping"]]);
  expect(await host().must("protect", "web1")).toBe("web1: vda already protected\n");

  await withoutChange(volume, () => host().must("protect", "web1", "--engine", "native"));
  expect(await mappedDisks(host(), guest)).toEqual({});
  const blocks = await host().blocks(guest);
  await host().start(guest);
  expect(await host().libvirt.secretsLeft()).toEqual([blocks["vda"]]);
  expect(existsSync(device)).toBe(false);
  await expectWritten(guest, "1M 64k", "2M 64k");
});

it("a guest that QEMU decrypts survives a downgrade, and is given to dm-crypt when it is asked for", async () => {
  const volume = volumes.newVolume();
  const guest = await guestOn(host(), "web1", volume);
  await host().must("protect", "web1");
  expect(await mappedDisks(host(), guest)).toEqual({});
  await host().start(guest);
  await write(guest, "1M 64k");

  await downgradeHost();
  await host().stop(guest);
  expect(await host().libvirt.secretsLeft()).toEqual([]);
  await expectNothingLeft(host());

  // whether QEMU opens what was formatted before is QEMU's own matter, which here it can
  const started = (await host().log()).length;
  await host().start(guest);
  await expectWritten(guest, "1M 64k");
  await host().stop(guest);
  expect(await stepsSince(started)).toEqual([["provide-secrets"], ["withdraw-secrets"]]);

  await withoutChange(volume, () => host().must("protect", "web1", "--engine", "dm-crypt"));
  expect(await host().blocks(guest)).toEqual({});
  const { device } = (await mappedDisks(host(), guest))["vda"]!;
  await host().start(guest);
  expect(existsSync(device)).toBe(true);
  expect(await host().libvirt.secretsLeft()).toEqual([]);
  await expectWritten(guest, "1M 64k");
  await write(guest, "2M 64k");
  await host().stop(guest);
  await expectNothingLeft(host());

  await upgradeHost();
  await host().must("protect", "web1", "--engine", "native");
  await host().start(guest);
  await expectWritten(guest, "1M 64k", "2M 64k");
});

it("what was opened is closed as it was opened, whatever the settings and the definition say by then", async () => {
  const [mapped, native] = [volumes.newVolume(), volumes.newVolume()];
  const [first, second] = [await guestOn(host(), "web1", mapped), await guestOn(host(), "web2", native)];
  await host().must("protect", "web1", "--engine", "dm-crypt");
  await host().must("protect", "web2", "--engine", "native");
  const { device } = (await mappedDisks(host(), first))["vda"]!;
  for (const guest of [first, second]) await host().start(guest);
  await host().settings({ version: 1, encryption: { engine: "native" } });
  // the definition of the guest that runs is put back to what it was before
  await host().define({ ...first });
  await host().stop(first);
  expect(existsSync(device)).toBe(false);
  await host().settings({ version: 1, encryption: { engine: "dm-crypt" } });
  await host().stop(second);
  await expectNothingLeft(host());
  // its volume is ciphertext, which the guest must not take for an empty disk
  expect((await host().refusedStart(first)).code).toBe("ENCRYPTION_BLOCK_LOST");
});
