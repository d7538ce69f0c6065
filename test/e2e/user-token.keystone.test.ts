import { readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Cloud, startCloud, type Tenant } from "../lab/cloud.js";
import { requestToken } from "../lab/keystone-admin.js";
import { hostForThisFile } from "./support/each-test.js";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await startCloud({ regions: { north: {} } });
});
const host = hostForThisFile();
afterAll(() => cloud[Symbol.asyncDispose]());

/** Whose disks they are, and for whom the host looks keys up: two users of one project. */
let user: Tenant;
let credential: { readonly id: string; readonly secretFile: string };
let token: string;
let tokenFile: string;

beforeEach(async () => {
  user = await cloud.tenant(["creator"]);
  const itself = await cloud.tenant(["creator"], { project: user });
  const { id, secret } = await cloud.keystone.admin.applicationCredential(itself, itself.userId);
  credential = { id, secretFile: secretFile("host", secret) };
  token = await requestToken(cloud.keystone.url, user);
  tokenFile = secretFile("token", `${token}\n`);
});

function secretFile(name: string, text: string): string {
  const path = join(host().libvirt.dir, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const userKeystore = () => ({
  name: "users",
  type: "barbican",
  keystone: { method: "token", url: cloud.keystone.url },
});
const hostKeystore = () => ({
  name: "host",
  type: "barbican",
  keystone: { method: "application-credential", url: cloud.keystone.url, ...credential },
});

/** The ids of the users who have made the project's secrets. */
async function creators(): Promise<string[]> {
  const answer = await fetch(`${cloud.barbicans["north"]!.url}/v1/secrets`, {
    headers: { "x-auth-token": token },
  });
  const { secrets } = (await answer.json()) as { secrets: { creator_id: string }[] };
  return secrets.map((secret) => secret.creator_id);
}

describe("a disk that a user protects with a token", () => {
  it("has a key that is the user's, and starts by the hooks, which have the host's credential", async () => {
    await host().settings({ version: 1, keystores: [userKeystore(), hostKeystore()] });
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1", "--token-file", tokenFile);
    expect(await creators()).toEqual([user.userId]);
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);
    expect(await creators()).toEqual([user.userId]);
    expect(await host().must("--token-file", tokenFile, "keys", "list")).toContain("active");
  });

  it("does not start by hooks that have no credential: the error says what to do", async () => {
    await host().settings({ version: 1, keystores: [userKeystore()] });
    const guest = await host().guest("web1", ["raw"]);
    expect((await host().refusedProtect("web1")).code).toBe("KEYSTORE_AUTH_FAILED");
    await host().must("protect", "web1", "--now", "--token-file", tokenFile);
    const refusal = await host().refusedStart(guest);
    expect(refusal.code).toBe("KEYSTORE_AUTH_FAILED");
    expect(refusal.hint).toContain("application credential of the host");
  });

  it("is tested with the token, which nothing tells", async () => {
    await host().settings({ version: 1, keystores: [userKeystore()] });
    const without = await host().luksmith("settings", "test");
    expect(without.exitCode).toBe(1);
    expect(without.stdout).toContain("--token-file");
    const { stdout } = await host().paste(`luksmith settings test --token-file - <${tokenFile}`);
    expect(stdout).toMatch(/^ok: keystore users/);
    await cloud.keystone.admin.revoke(token);
    const after = await host().luksmith("--token-file", tokenFile, "settings", "test", "--json");
    expect(after.stdout).toContain("KEYSTORE_AUTH_FAILED");
    const log = await readFile(host().inside("/var/log/luksmith/luksmith.log"), "utf8").catch(() => "");
    for (const said of [after.stdout, after.stderr, without.stderr, stdout, log]) {
      expect(said).not.toContain(token);
      expect(said).not.toContain(readFileSync(credential.secretFile, "utf8"));
    }
  });
});
