import { execa } from "execa";
import { chmod, chown, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { hashOf } from "./support/volumes.js";

const host = hostForThisFile();

const directory = () => host().keystoreDirectory;
const masterKey = () => join(directory(), "master-key.json");

describe.each<[what: string, code: string, damage: (record: string) => Promise<unknown>]>([
  [
    "a record that is cut off",
    "KEY_CORRUPT",
    async (record) => writeFile(record, (await readFile(record)).subarray(0, 99)),
  ],
  ["a record that was changed", "KEY_CORRUPT", swapDisk],
  ["a record that others can read", "PERMISSIONS_UNSAFE", (record) => chmod(record, 0o644)],
  ["a directory that others can read", "PERMISSIONS_UNSAFE", () => chmod(directory(), 0o755)],
  ["a directory of another user", "PERMISSIONS_UNSAFE", () => chown(directory(), 64_055, 64_055)],
  ["a lost master key", "MASTER_KEY_UNUSABLE", () => rename(masterKey(), `${masterKey()}.away`)],
  ["a damaged master key", "MASTER_KEY_UNUSABLE", () => writeFile(masterKey(), "{}")],
])("a keystore with %s", (_, code, damage) => {
  it(`keeps its guest from starting (${code}), and no other`, async () => {
    const guest = await host().guest("web1", ["raw"]);
    const plain = await host().guest("web2", ["qcow2"]);
    await host().must("protect", "web1", "--now");
    const uuid = (await host().blocks(guest))["vda"] ?? "";
    const record = join(directory(), "records", `${uuid}.json`);
    // the same file systems, modes and owners come back
    await execa("cp", ["-a", directory(), `${directory()}.good`]);
    const before = await hashOf(guest.disks[0]!.path);
    await damage(record);

    expect((await host().refusedStart(guest)).code).toBe(code);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    await host().start(plain);
    expect(await host().isRunning(plain)).toBe(true);

    await execa("sh", ["-c", 'rm -r "$1" && mv "$1.good" "$1"', "sh", directory()]);
    expect(await hashOf(guest.disks[0]!.path)).toBe(before);
    await host().start(guest);
  });
});

describe("a keystore that is read-only", () => {
  it("is enough for guests that are encrypted, and makes no key", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().guest("web2", ["raw"]);
    await host().must("protect", "web1", "--now");
    const path = "/var/lib/luksmith/keystore";
    await host().libvirt.exec(["mount", "--bind", path, path]);
    await host().libvirt.exec(["mount", "-o", "remount,bind,ro", path]);
    try {
      await host().start(guest);
      expect((await host().refusedProtect("web2")).code).toBe("KEYSTORE_WRITE_FAILED");
      expect(await host().keystore().list()).toHaveLength(1);
    } finally {
      await host().libvirt.exec(["umount", path]);
    }
  });
});

/** What the record says about its key is authenticated: it cannot be moved to another disk. */
async function swapDisk(record: string): Promise<void> {
  await writeFile(record, (await readFile(record, "utf8")).replace('"disk":"vda"', '"disk":"vdb"'));
}
