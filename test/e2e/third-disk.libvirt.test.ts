import { randomUUID } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type TestGuest } from "./support/guests.js";
import { hashOf, luksUuidOf, makeVolume, MIB, writeAt } from "./support/volumes.js";

const host = hostForThisFile();
const THREE = ["raw", "qcow2", "raw"] as const;

const hashes = ({ disks }: TestGuest) => Promise.all(disks.map(({ path }) => hashOf(path)));
const states = async () => (await host().keystore().list()).map(({ state }) => state);
const third = ({ disks }: TestGuest) => disks[2]!.path;

const recordOf = (uuid: string) => join(host().keystoreDirectory, "records", `${uuid}.json`);

/** Does `work` with a keystore that has room for two keys. */
async function withRoomForTwoKeys(work: () => Promise<void>): Promise<void> {
  const directory = "/var/lib/luksmith/keystore";
  await mkdir(host().keystoreDirectory, { mode: 0o700 });
  // a file takes a page: the master key, which the test of the keystore makes, and two records
  await host().libvirt.exec(["mount", "-t", "tmpfs", "-o", "size=12k,mode=0700", "tmpfs", directory]);
  try {
    await host().must("settings", "test");
    await work();
  } finally {
    await host().libvirt.exec(["umount", directory]);
  }
}

describe("when the third of three disks cannot be protected", () => {
  it("because it holds data, nothing is done to the others", async () => {
    const guest = await host().guest("web1", THREE);
    await writeAt(third(guest), 5 * MIB, "x");
    const before = [await hashes(guest), await host().definition(guest)];
    expect((await host().refusedProtect("web1", "--now")).code).toBe("VOLUME_NOT_EMPTY");
    expect([await hashes(guest), await host().definition(guest)]).toEqual(before);
    expect(await states()).toEqual([]);
  });

  it("because the keystore is full, the two keys that were made are deleted again", async () => {
    const guest = await host().guest("web1", THREE);
    const before = [await hashes(guest), await host().definition(guest)];
    await withRoomForTwoKeys(async () => {
      expect((await host().refusedProtect("web1", "--now")).code).toBe("KEYSTORE_WRITE_FAILED");
      expect(await states()).toEqual([]);
    });
    expect([await hashes(guest), await host().definition(guest)]).toEqual(before);
  });
});

describe("when the third of three disks cannot be adopted", () => {
  const orchestrated = () =>
    host().guest("web1", THREE, { metadata: FLAVOR_ASKS, blocks: "of unknown keys" });

  it("because it holds data, nothing is done to the others", async () => {
    const guest = await orchestrated();
    await writeAt(third(guest), 0, "somebody's");
    const before = await hashes(guest);
    expect((await host().refusedStart(guest)).code).toBe("VOLUME_NOT_EMPTY");
    expect(await hashes(guest)).toEqual(before);
    expect(await states()).toEqual([]);
  });

  it("because the keystore is full, the two keys that were made are deleted and nothing is formatted", async () => {
    const guest = await orchestrated();
    const before = await hashes(guest);
    await withRoomForTwoKeys(async () => {
      expect((await host().refusedStart(guest)).code).toBe("KEYSTORE_WRITE_FAILED");
      expect(await states()).toEqual([]);
    });
    expect(await hashes(guest)).toEqual(before);
    await host().start(guest);
  });
});

describe("when the third of three encrypted disks cannot be opened", () => {
  it.each<[why: string, code: string, damage: (uuid: string) => Promise<void>]>([
    ["its key is not there", "KEY_NOT_FOUND", (uuid) => rename(recordOf(uuid), `${recordOf(uuid)}.gone`)],
    ["its key is damaged", "KEY_CORRUPT", (uuid) => writeFile(recordOf(uuid), "{", { mode: 0o600 })],
  ])("because %s, the guest does not start and no passphrase stays on the host", async (_, code, damage) => {
    const guest = await host().guest("web1", THREE, { metadata: FLAVOR_ASKS });
    await host().must("protect", "web1", "--now");
    await damage((await host().blocks(guest))["vdc"] ?? "");
    const before = await hashes(guest);
    expect((await host().refusedStart(guest)).code).toBe(code);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    expect(await hashes(guest)).toEqual(before);
  });

  it("because its key is not there and nobody asks for it, libvirt says so and no passphrase stays", async () => {
    const guest = await host().guest("web1", THREE);
    await host().must("protect", "web1", "--now");
    const uuid = (await host().blocks(guest))["vdc"] ?? "";
    await rename(recordOf(uuid), `${recordOf(uuid)}.gone`);
    await expect(host().start(guest)).rejects.toThrow(`no secret with matching uuid '${uuid}'`);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
  });

  it("because libvirt refuses its host secret, the other two are withdrawn", async () => {
    const guest = await host().guest("web1", THREE);
    await host().must("protect", "web1", "--now");
    const uuid = (await host().blocks(guest))["vdc"] ?? "";
    // usages are unique in libvirt
    const taken = randomUUID();
    const usage = `<usage type='volume'><volume>luksmith:${guest.uuid}:vdc:${uuid}</volume></usage>`;
    const xml = `<secret ephemeral='yes' private='no'><uuid>${taken}</uuid>${usage}</secret>`;
    await writeFile(host().inside("/run/taken.xml"), xml);
    await host().libvirt.virsh("secret-define", "/run/taken.xml");
    expect((await host().refusedStart(guest)).code).toBe("HOST_SECRET_FAILED");
    expect(await host().libvirt.secretsLeft()).toEqual([taken]);
    await host().libvirt.virsh("secret-undefine", taken);
  });
});

it("when the third of three new disks is found to hold data while they are formatted, the next start goes on", async () => {
  const guest = await host().guest("web1", THREE);
  await host().must("protect", "web1");
  await writeAt(third(guest), 5 * MIB, "x");
  const before = await hashOf(third(guest));
  expect((await host().refusedStart(guest)).code).toBe("VOLUME_NOT_EMPTY");
  expect(await hashOf(third(guest))).toBe(before);
  expect(await states()).toEqual(["pending", "pending", "pending"]);
  expect(await host().libvirt.secretsLeft()).toEqual([]);

  await makeVolume(third(guest), "raw");
  await host().start(guest);
  const blocks = await host().blocks(guest);
  for (const { dev, path, format } of guest.disks) expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
  expect(await states()).toEqual(["active", "active", "active"]);
});
