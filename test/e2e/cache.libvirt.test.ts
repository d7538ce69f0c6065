import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CacheOutput } from "../../src/generated/cache.js";
import type { StatusOutput } from "../../src/generated/status.js";
import { VaultKeystore } from "../../src/keystore/vault/vault-keystore.js";
import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { VaultAdmin } from "../keystore/vault/vault-admin.js";
import { type FakeVault, startFakeVault } from "../keystore/vault/vault-server.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";

/** Seconds that the keystore has. */
const TIMEOUT = 2;
const SEALED = "/var/lib/luksmith/cache";
const IN_MEMORY = "/run/luksmith/cache";

let vault: FakeVault;
let tokenFile: string;
beforeAll(async () => {
  vault = await startFakeVault();
  tokenFile = join(vault.directory, "token");
});
const host = hostForThisFile();
afterAll(() => vault[Symbol.asyncDispose]());

let mount = 0;
beforeEach(async () => {
  vault.thaw();
  mount += 1;
  await new VaultAdmin(vault, undefined).enable(`kv${mount}`);
  writeFileSync(tokenFile, vault.rootToken, { mode: 0o600 });
});

const keystore = () =>
  ({
    name: "vault1",
    type: "vault",
    url: vault.url,
    mount: `kv${mount}`,
    timeout: TIMEOUT,
    auth: { method: "token", tokenFile },
  }) as const;

function use(cache: "off" | "memory" | "sealed"): Promise<void> {
  return host().settings({ version: 1, keystores: [keystore()], profiles: [{ name: "default", cache }] });
}

/** A guest that has been started and stopped while its keystore answered. */
async function startedBefore(...formats: ("raw" | "qcow2")[]): Promise<TestGuest> {
  const guest = await host().guest("web1", formats);
  await host().must("protect", "web1", "--now");
  await host().start(guest);
  await host().stop(guest);
  return guest;
}

async function copies(): Promise<CacheOutput["copies"]> {
  return ((await host().json("cache", "list")) as CacheOutput).copies;
}

async function warnings(): Promise<string[]> {
  return (await host().log()).filter(({ level }) => level === "warn").map(({ message }) => message);
}

describe.each([
  ["memory", IN_MEMORY],
  ["sealed", SEALED],
] as const)("a guest of a profile with cache %s", (cache, directory) => {
  it("starts while its keystore is away, and everybody is told", async () => {
    await use(cache);
    const guest = await startedBefore("raw", "qcow2");
    expect(await warnings()).toEqual([]);
    vault.freeze();
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);

    const blocks = await host().blocks(guest);
    const [first, second] = await warnings();
    expect([first, second].sort()).toEqual([
      expect.stringContaining(
        `disk vda of guest web1 is opened with a copy of key ${blocks["vda"]}, which keystore vault1`,
      ),
      expect.stringContaining(
        `disk vdb of guest web1 is opened with a copy of key ${blocks["vdb"]}, which keystore vault1`,
      ),
    ]);
    const { guests } = (await host().json("status", "web1")) as StatusOutput;
    for (const disk of guests[0]!.disks) {
      expect(disk).toMatchObject({ protection: "encrypted", keystore: "vault1" });
      expect(disk.cachedAt).toMatch(/^20.*Z$/);
    }
    expect(await host().must("status", "web1")).toMatch(
      /web1 vda: keystore vault1 does not answer; the cache has/,
    );
    const listed = await copies();
    expect(
      listed.map(({ uuid, keep, directory: where, state }) => [uuid, keep, where, state]).sort(),
    ).toEqual(
      Object.values(blocks)
        .map((uuid) => [uuid, cache, directory, "usable"])
        .sort(),
    );
    vault.thaw();
    await expectNoPassphraseIn(host().inside(directory), Object.values(blocks));
    await host().must("cache", "clear");
    expect(existsSync(host().inside(directory))).toBe(false);
  });

  it("does not start any more once its access was withdrawn, though the keystore goes away after that", async () => {
    await use(cache);
    const guest = await startedBefore("raw");
    expect(await copies()).toHaveLength(1);
    writeFileSync(tokenFile, "s.revoked", { mode: 0o600 });
    expect((await host().refusedStart(guest)).code).toMatch(/^KEYSTORE_(AUTH_FAILED|FORBIDDEN)$/);
    expect(await copies()).toEqual([]);
    vault.freeze();
    expect((await host().refusedStart(guest)).code).toBe("KEYSTORE_UNAVAILABLE");
    await host().must("cache", "clear");
  });
});

describe("without a cache", () => {
  it("a guest does not start while its keystore is away, and no directory is made", async () => {
    await use("off");
    const guest = await startedBefore("raw");
    vault.freeze();
    expect((await host().refusedStart(guest)).code).toBe("KEYSTORE_UNAVAILABLE");
    for (const directory of [SEALED, IN_MEMORY]) expect(existsSync(host().inside(directory))).toBe(false);
    expect(await host().must("cache", "list")).toBe("the cache is empty\n");
  });

  it("that was switched off, nothing is left after the next start", async () => {
    await use("sealed");
    const guest = await startedBefore("raw");
    await use("off");
    await host().start(guest);
    expect(existsSync(host().inside(SEALED))).toBe(false);
  });
});

describe("a keystore that hangs", () => {
  it("is waited for once, however many disks the guest has", async () => {
    await use("memory");
    const guest = await startedBefore(...Array.from({ length: 16 }, () => "raw" as const));
    vault.freeze();
    const before = performance.now();
    await host().start(guest);
    const seconds = (performance.now() - before) / 1000;
    expect(seconds).toBeGreaterThan(TIMEOUT);
    expect(seconds).toBeLessThan(2 * TIMEOUT + 4);
    expect(await warnings()).toHaveLength(16);
    await host().must("cache", "clear");
  });
});

describe("luksmith cache", () => {
  it("refresh copies the keys of all guests anew, also of those that did not start here", async () => {
    await use("sealed");
    await host().guest("web1", ["raw"]);
    await host().must("protect", "web1", "--now");
    expect(await copies()).toEqual([]);
    expect(await host().must("cache", "refresh")).toBe("1 of 1 keys were fetched\n");
    const [{ since } = { since: "" }] = await copies();
    await host().must("cache", "refresh");
    expect((await copies())[0]!.since! > since!).toBe(true);
    vault.freeze();
    const { exitCode, stdout } = await host().luksmith("cache", "refresh");
    expect({ exitCode, stdout }).toEqual({
      exitCode: 4,
      stdout: expect.stringMatching(/^0 of 1 keys were fetched\nnot fetched: keystore vault1/) as string,
    });
  });

  it("clear removes what it is told, and says what it would remove", async () => {
    await use("sealed");
    const guest = await startedBefore("raw", "raw");
    const { vda = "", vdb = "" } = await host().blocks(guest);
    expect(await host().must("cache", "clear", "--dry-run")).toBe(
      `would remove 2 copies of keys in ${SEALED}\n`,
    );
    expect(await copies()).toHaveLength(2);
    expect(await host().must("cache", "clear", vda)).toBe(`removed 1 copy of a key in ${SEALED}\n`);
    expect((await copies()).map(({ uuid }) => uuid)).toEqual([vdb]);
    expect(await host().must("cache", "clear", vda)).toBe("there was nothing to remove\n");
  });

  it("has nothing left when luksmith was uninstalled", async () => {
    await use("sealed");
    await startedBefore("raw");
    const dry = await host().must("uninstall", "--host", "libvirt", "--dry-run");
    expect(dry).toContain(`would remove 1 copy of a key in ${SEALED}`);
    expect(await copies()).toHaveLength(1);
    try {
      expect(await host().must("uninstall", "--host", "libvirt")).toContain(
        `removed 1 copy of a key in ${SEALED}`,
      );
      expect(existsSync(host().inside(SEALED))).toBe(false);
    } finally {
      await host().install();
    }
  });
});

async function expectNoPassphraseIn(directory: string, uuids: readonly string[]): Promise<void> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  );
  expect(files.length).toBeGreaterThan(uuids.length);
  const defaults = { prefix: "luksmith", tls: {} };
  for (const uuid of uuids) {
    const key = await new VaultKeystore({ ...defaults, ...keystore() }).fetch(parseKeyUuid(uuid)!);
    using passphrase = key!.passphrase;
    for (const { parentPath, name } of files) {
      const bytes = readFileSync(join(parentPath, name));
      expect(passphrase.use((text) => bytes.includes(text))).toBe(false);
    }
  }
}
