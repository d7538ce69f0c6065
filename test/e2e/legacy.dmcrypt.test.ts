import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LoopDevice } from "../lab/loop-device.js";
import { VolumeGroup } from "../lab/volume-group.js";
import type { TestGuest } from "./support/guests.js";
import {
  digestOf,
  encryptAsNova,
  type NovaVolume,
  openMappings,
  writeGuestData,
  writeKeyFile,
} from "./support/legacy-volumes.js";
import { hostForThisFile } from "./support/each-test.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { makeVolume } from "./support/volumes.js";

// a guest's start alone takes many seconds in User-Mode Linux
vi.setConfig({ testTimeout: 400_000, hookTimeout: 120_000 });

const MIB = 1024 * 1024;
const LEGACY = { version: 1, legacy: { enabled: true } };

let group: VolumeGroup;

beforeEach(() => {
  group = new VolumeGroup();
});
// registered before the host's own, so that it runs after that: hooks of one kind run in reverse
afterEach(() => group[Symbol.dispose]());

const host = hostForThisFile();

function guestOn(path: string): Promise<TestGuest> {
  return host().define({ name: "web1", disks: [{ dev: "vda", path, format: "raw" }] });
}

/** The deprecation warnings so far. */
async function warnings(): Promise<string[]> {
  const log = await host().log();
  return log.flatMap(({ level, message }) => (level === "warn" ? message : []));
}

describe("with legacy.enabled", () => {
  test("a logical volume of which nobody speaks is plain dm-crypt from its first start on", async () => {
    await host().settings(LEGACY);
    const volume = group.create("vm1", 16 * MIB);
    execFileSync("blkdiscard", ["--zeroout", volume]);
    const guest = await guestOn(volume);
    expect((await host().refusedStart(guest)).code).toBe("DISK_NOT_ENCRYPTED");
    await host().must("protect", "web1");
    expect(digestOf(volume)).toBe(digestOf("/dev/zero", 16 * MIB));

    await host().start(guest);
    expect(openMappings()).toEqual(["vm1-dmcrypt"]);
    expect(await host().definition(guest)).toContain("<source dev='/dev/mapper/vm1-dmcrypt'/>");
    expect(await warnings()).toEqual([
      expect.stringMatching(
        /disk vda of guest web1.*plain dm-crypt is deprecated.*luksmith convert web1 vda/,
      ),
    ]);
    const [key] = await host().keystore().list();
    const encryption = { format: "plain", cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" };
    expect(key).toMatchObject({ state: "active", volume, encryption });
    writeGuestData("/dev/mapper/vm1-dmcrypt", Buffer.alloc(MIB, "the guest was here"));
    const seen = digestOf("/dev/mapper/vm1-dmcrypt");
    await host().stop(guest);
    expect(openMappings()).toEqual([]);
    await expectNothingLeft(host());

    // the volume has ciphertext, and the next start decrypts it
    expect(readFileSync(volume).includes("the guest was here")).toBe(false);
    await host().start(guest);
    expect(digestOf("/dev/mapper/vm1-dmcrypt")).toBe(seen);
    expect(await warnings()).toHaveLength(2);
    await host().stop(guest);
  });

  test("a volume that holds something is not taken for a new plain one", async () => {
    await host().settings(LEGACY);
    const volume = group.create("vm1", 16 * MIB);
    execFileSync("mkfs.ext4", ["-q", volume]);
    await guestOn(volume);

    expect((await host().refusedProtect("web1")).code).toBe("VOLUME_NOT_EMPTY");
    expect(await host().keystore().list()).toEqual([]);
  });

  test("a plain disk does not start any more once it is switched off, and still stops", async () => {
    await host().settings(LEGACY);
    const volume = group.create("vm1", 16 * MIB);
    execFileSync("blkdiscard", ["--zeroout", volume]);
    const guest = await guestOn(volume);
    await host().must("protect", "web1", "--now");
    await host().start(guest);
    await host().settings({ version: 1 });
    await host().stop(guest);
    await expectNothingLeft(host());

    const { code, hint } = await host().refusedStart(guest);
    expect(code).toBe("TRAIT_MISSING");
    expect(hint).toContain("luksmith convert");
    expect(openMappings()).toEqual([]);
  });

  test("only logical volumes are meant", async () => {
    await host().settings(LEGACY);
    using loop = new LoopDevice(16 * MIB);
    // by its name it could be volume `data` of group `md`
    mkdirSync("/dev/md");
    symlinkSync(loop.path, "/dev/md/data");
    try {
      const image = host().newPath("raw");
      await makeVolume(image, "raw");
      const disks = [
        { dev: "vda", path: image, format: "raw" as const },
        { dev: "vdb", path: "/dev/md/data", format: "raw" as const },
      ];
      const guest = await host().define({ name: "web1", disks });
      await host().start(guest);

      expect(openMappings()).toEqual([]);
      expect(await host().blocks(guest)).toEqual({});
      await host().stop(guest);
    } finally {
      rmSync("/dev/md", { recursive: true });
    }
  });
});

/** A guest as Nova leaves it, with the file that has its key. */
async function novaGuest(
  size = 16 * MIB,
): Promise<{ volume: NovaVolume; guest: TestGuest; keyFile: string }> {
  const volume = encryptAsNova(group.create("vm1", size));
  const guest = await guestOn(`/dev/mapper/${volume.mapping}`);
  const keyFile = writeKeyFile(join(host().libvirt.dir, "nova.key"), `${volume.key.toString("hex")}\n`);
  return { volume, guest, keyFile };
}

function adopt({ path }: NovaVolume, keyFile: string, ...more: readonly string[]) {
  return host().luksmith("adopt", "web1", "vda", "--volume", path, "--key-file", keyFile, ...more);
}

describe("luksmith adopt", () => {
  test("takes over what Nova encrypted: its guest starts with all its data", async () => {
    // another hash than Nova's cryptsetup had: the right one is found
    await host().settings({ version: 1, legacy: { enabled: true, hash: "sha256" } });
    const { volume, guest, keyFile } = await novaGuest();
    const bytes = digestOf(volume.path);
    const before = await host().definition(guest);
    const dryRun = await adopt(volume, keyFile, "--dry-run");
    expect([dryRun.exitCode, await host().definition(guest)]).toEqual([0, before]);
    expect(await host().keystore().list()).toEqual([]);

    const { stdout } = await adopt(volume, keyFile);
    expect(stdout).toContain("ext file system");
    expect((await adopt(volume, keyFile)).stdout).toContain("adopted already");
    rmSync(keyFile);
    const [key, ...others] = await host().keystore().list();
    expect(others).toEqual([]);
    const { path } = volume;
    expect(key).toMatchObject({
      state: "active",
      disk: "vda",
      volume: path,
      encryption: { hash: "ripemd160" },
    });
    expect(digestOf(path)).toBe(bytes);
    expect(openMappings()).toEqual([]);

    await host().start(guest);
    expect(digestOf(`/dev/mapper/${volume.mapping}`)).toBe(volume.digest);
    await host().stop(guest);
    await expectNothingLeft(host());
  });

  test("takes the key's bytes as the key manager has them", async () => {
    const { volume, keyFile } = await novaGuest();
    writeKeyFile(keyFile, volume.key);

    expect((await adopt(volume, keyFile)).exitCode).toBe(2);
    expect((await adopt(volume, keyFile, "--key-form", "raw")).exitCode).toBe(0);
    rmSync(keyFile);
    const [record] = await host().keystore().list();
    const { passphrase } = await host().key(record!.uuid);
    using secret = passphrase;
    expect(secret.use((bytes) => bytes.toString())).toBe(volume.key.toString("hex"));
  });

  test("refuses a key under which nothing known is found, unless it is told to trust it", async () => {
    const { volume, guest, keyFile } = await novaGuest();
    writeKeyFile(keyFile, "0123456789abcdef".repeat(8));
    const before = await host().definition(guest);
    const refused = await adopt(volume, keyFile);

    expect(refused.stderr).toMatch(/nothing known is found.*\ncause: .*\nhint: .*--unverified/);
    expect(refused.exitCode).toBe(5);
    expect(await host().definition(guest)).toBe(before);
    expect(await host().keystore().list()).toEqual([]);
    expect((await adopt(volume, keyFile, "--unverified")).exitCode).toBe(0);
    rmSync(keyFile);
  });

  test("puts a key that is verified in the place of one that was not", async () => {
    await host().settings(LEGACY);
    const { volume, guest, keyFile } = await novaGuest();
    writeKeyFile(keyFile, "0123456789abcdef".repeat(8));
    expect((await adopt(volume, keyFile, "--unverified")).exitCode).toBe(0);
    const [wrong] = await host().keystore().list();

    writeKeyFile(keyFile, volume.key.toString("hex"));
    const unverified = await adopt(volume, keyFile, "--unverified");
    expect(unverified.stderr).toMatch(/annotated as encrypted already.*\nhint: .*leave --unverified out/);
    const { stdout, exitCode } = await adopt(volume, keyFile);
    rmSync(keyFile);

    expect(exitCode).toBe(0);
    expect(stdout).toContain(`in place of key ${wrong!.uuid}, which stays in its keystore`);
    expect(await host().keystore().list()).toHaveLength(2);
    await host().start(guest);
    expect(digestOf(`/dev/mapper/${volume.mapping}`)).toBe(volume.digest);
    await host().stop(guest);
    await expectNothingLeft(host());
  });

  test("refuses what is not Nova's", async () => {
    const { volume, guest, keyFile } = await novaGuest();
    const luks = group.create("luks", 16 * MIB);
    const command = ["adopt", "web1", "vda", "--key-file", keyFile, "--volume"];
    const codes = async (...args: readonly string[]) => {
      const { stdout } = await host().luksmith(...args, "--dry-run");
      return stdout;
    };
    expect(await codes(...command, luks)).toBe("");
    execFileSync("chmod", ["0644", keyFile]);
    expect((await adopt(volume, keyFile)).stderr).toContain("chmod 0600");
    execFileSync("chmod", ["0600", keyFile]);
    execFileSync(
      "cryptsetup",
      ["luksFormat", "-q", "--pbkdf-force-iterations=1000", "--type=luks1", volume.path, "-"],
      {
        input: "x",
      },
    );
    expect((await adopt(volume, keyFile)).stderr).toContain("it has a LUKS header");
    expect(await host().keystore().list()).toEqual([]);
    expect(await host().blocks(guest)).toEqual({});
    rmSync(keyFile);
  });
});
