import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BarbicanKeystore } from "../../src/keystore/barbican/barbican-keystore.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { makeAuthority } from "../lab/certificates.js";
import { type BarbicanServer, startBarbican } from "../lab/barbican-server.js";
import { hostForThisFile } from "./support/each-test.js";
import { hashOf, luksUuidOf, opensWith } from "./support/volumes.js";

let barbican: BarbicanServer;
let directory: string;
let caFile: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "luksmith-ca-"));
  const authority = await makeAuthority(directory);
  caFile = authority.caFile;
  barbican = await startBarbican({ tls: await authority.server("server") });
});
const host = hostForThisFile();
afterAll(async () => {
  await barbican.stop();
  await rm(directory, { recursive: true });
});

/** Seconds that the keystore has; a test waits for them more than once. */
const TIMEOUT = 3;

let projectId: string;
const settings = () =>
  ({
    name: "cloud",
    type: "barbican",
    url: barbican.tls!.url,
    projectId,
    timeout: TIMEOUT,
    tls: { caFile },
  }) as const;
const keystore = () => new BarbicanKeystore(settings(), { runner: new ExecaCommandRunner() });

beforeEach(async () => {
  projectId = randomUUID();
  host().keystore = keystore;
  await host().settings({
    version: 1,
    keystores: [settings(), { name: "local", type: "file" }],
    profiles: [{ name: "default" }, { name: "on-host", keystore: "local" }],
    rules: [{ name: "here", guest: "local*", profile: "on-host" }],
  });
});

describe("guests whose keys are in Barbican", () => {
  it("are formatted and opened by the hooks alone, and no key is on the host", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    await host().must("protect", "web1");
    await host().start(guest);
    const blocks = await host().blocks(guest);
    for (const { dev, path, format } of guest.disks) {
      expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
      const key = await host().key(blocks[dev]);
      using passphrase = key.passphrase;
      expect(key.record).toMatchObject({ state: "active", disk: dev, volume: path });
      expect(await opensWith(path, format, passphrase)).toBe(true);
    }
    expect(existsSync(join(host().keystoreDirectory, "records"))).toBe(false);
  });

  it("do not start while it does not answer, within its time, and others do", async () => {
    const [guest, local] = [await host().guest("web1", ["raw"]), await host().guest("local1", ["raw"])];
    for (const name of ["web1", "local1"]) await host().must("protect", name, "--now");
    const before = await hashOf(guest.disks[0]!.path);
    barbican.freeze();
    try {
      const start = performance.now();
      const refusal = await host().refusedStart(guest);
      expect(refusal.code).toBe("KEYSTORE_UNAVAILABLE");
      expect(refusal.stderr).toContain("keystore cloud");
      expect(performance.now() - start).toBeLessThan(TIMEOUT * 1000 + 6000);
      await host().start(local);
      expect(await host().isRunning(local)).toBe(true);
    } finally {
      barbican.thaw();
    }
    expect(await hashOf(guest.disks[0]!.path)).toBe(before);
    await host().start(guest);
  });

  it("stop while it is away, and leave nothing", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    await host().start(guest);
    barbican.freeze();
    try {
      await host().stop(guest);
      expect(await host().libvirt.secretsLeft()).toEqual([]);
    } finally {
      barbican.thaw();
    }
  });

  it("get no key and no encryption block when it is away, and are as before", async () => {
    const guest = await host().guest("web1", ["raw", "raw"]);
    const definition = await host().definition(guest);
    barbican.freeze();
    try {
      expect((await host().refusedProtect("web1")).code).toBe("KEYSTORE_UNAVAILABLE");
    } finally {
      barbican.thaw();
    }
    expect(await host().definition(guest)).toBe(definition);
    await host().must("protect", "web1");
    await host().start(guest);
    expect(await keystore().list()).toHaveLength(2);
  });

  it("do not trust a server that another authority vouches for", async () => {
    const guest = await host().guest("web1", ["raw"]);
    const other = await makeAuthority(directory, "other");
    await host().settings({ version: 1, keystores: [{ ...settings(), tls: { caFile: other.caFile } }] });
    expect((await host().refusedProtect("web1")).code).toBe("KEYSTORE_TLS_FAILED");
    expect(await host().blocks(guest)).toEqual({});
  });
});

describe("settings test", () => {
  it("says of each keystore how far it came", async () => {
    barbican.freeze();
    try {
      const { exitCode, stdout } = await host().luksmith("settings", "test", "--json");
      expect(exitCode).not.toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({
        ok: false,
        keystores: [
          { name: "cloud", ok: false, problem: { code: "KEYSTORE_UNAVAILABLE" } },
          { name: "local", ok: true },
        ],
      });
    } finally {
      barbican.thaw();
    }
    const answer = (await host().json("settings", "test")) as { keystores: object[] };
    expect(answer).toMatchObject({ ok: true });
    expect(answer.keystores[0]).toMatchObject({ checks: ["reached", "TLS", "authenticated", "round trip"] });
  });
});
