import { chmod, cp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { hashOf, makeVolume } from "./support/volumes.js";

const host = hostForThisFile();

async function encrypted(name: string, format: "raw" | "qcow2"): Promise<TestGuest> {
  const guest = await host().guest(name, [format]);
  await host().must("protect", name, "--now");
  return guest;
}

/** The same guest with its disk described in another way, and without its encryption block. */
async function redefined(guest: TestGuest, format = guest.disks[0]!.format): Promise<TestGuest> {
  return host().define({ ...guest, disks: guest.disks.map((disk) => ({ ...disk, format })) });
}

const pathOf = (guest: TestGuest) => guest.disks[0]!.path;

describe("a disk that has lost its encryption block", () => {
  const masterKey = () => join(host().keystoreDirectory, "master-key.json");

  it.each<[what: string, code: string, breakIt: () => Promise<void>, mend: () => Promise<void>]>([
    [
      "has unsafe permissions",
      "PERMISSIONS_UNSAFE",
      () => chmod(host().keystoreDirectory, 0o755),
      () => chmod(host().keystoreDirectory, 0o700),
    ],
    [
      "has lost its master key",
      "MASTER_KEY_UNUSABLE",
      () => rename(masterKey(), `${masterKey()}.away`),
      () => rename(`${masterKey()}.away`, masterKey()),
    ],
  ])("is not started on its ciphertext while the keystore %s", async (_, code, breakIt, mend) => {
    const guest = await redefined(await encrypted("web1", "raw"));
    const before = await hashOf(pathOf(guest));
    await breakIt();
    expect((await host().refusedStart(guest)).code).toBe(code);
    await mend();
    expect((await host().refusedStart(guest)).code).toBe("ENCRYPTION_BLOCK_LOST");
    expect(await hashOf(pathOf(guest))).toBe(before);
  });

  it("is not started when its definition calls the qcow2 image raw", async () => {
    const guest = await redefined(await encrypted("web1", "qcow2"), "raw");
    const before = await hashOf(pathOf(guest));
    expect((await host().refusedStart(guest)).code).toBe("ENCRYPTION_BLOCK_LOST");
    expect(await hashOf(pathOf(guest))).toBe(before);
  });
});

describe("a key", () => {
  it("that is pending formats no other guest's volume, as a cloned definition would have it", async () => {
    const original = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    const { vda: secretUuid } = await host().blocks(original);
    const path = host().newPath("raw");
    await makeVolume(path, "raw");
    const before = await hashOf(path);
    const disks = [{ dev: "vda", path, format: "raw", secretUuid: secretUuid! } as const];
    const clone = await host().define({ name: "clone", disks });
    expect((await host().refusedStart(clone)).code).toBe("KEY_IN_USE");
    expect(await hashOf(path)).toBe(before);
    await host().start(original);
  });

  it("opens one disk of a guest and not two, whether anybody asks or not", async () => {
    const single = await encrypted("web1", "raw");
    const { vda: secretUuid } = await host().blocks(single);
    const path = host().newPath("raw");
    await makeVolume(path, "raw");
    const disk = { dev: "vda", path: pathOf(single), format: "raw", secretUuid: secretUuid! } as const;
    const twin = await host().define({ ...single, disks: [disk, { ...disk, dev: "vdb", path }] });
    expect((await host().refusedStart(twin)).code).toBe("GUEST_CONFIG_INVALID");
    expect(await host().libvirt.secretsLeft()).toEqual([]);
  });

  it("whose record comes back as pending from a backup resumes a guest with saved memory", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    const backup = join(host().images, "keystore-backup");
    await cp(host().keystoreDirectory, backup, { recursive: true, preserveTimestamps: true });
    await host().start(guest);
    await host().libvirt.virsh("managedsave", guest.uuid);
    await rm(join(host().keystoreDirectory, "records"), { recursive: true });
    await cp(backup, host().keystoreDirectory, { recursive: true });
    await chmod(join(host().keystoreDirectory, "records"), 0o700);
    expect((await host().keystore().list()).map(({ state }) => state)).toEqual(["pending"]);
    await host().start(guest);
    expect((await host().keystore().list()).map(({ state }) => state)).toEqual(["active"]);
    expect(await host().isRunning(guest)).toBe(true);
    await rm(backup, { recursive: true });
  });
});
