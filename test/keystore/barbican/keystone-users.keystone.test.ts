import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import { type KeyRecord } from "../../../src/generated/key-record.js";
import type { BarbicanKeystore } from "../../../src/keystore/barbican/barbican-keystore.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import { type Cloud, startCloud, type Tenant } from "../../lab/cloud.js";
import { type FaultyLine, startFaultyLine } from "../../lab/faulty-line.js";
import { requestToken } from "../../lab/keystone-admin.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { barbicanKeystore, type KeystoneSettings, SecretFiles } from "./keystone-fixture.js";

/** The regions of the cloud: Barbican's default policy, and the one that it will have some day. */
type Policy = "older" | "newer";

/** Otherwise Barbican believes a token for five minutes without asking Keystone. */
const ASK_ALWAYS = { keystone_authtoken: { token_cache_time: "-1" } };

const files = new SecretFiles();
let cloud: Cloud;
beforeAll(async () => {
  const newer = { enforce_scope: "true", enforce_new_defaults: "true" };
  cloud = await startCloud({ regions: { older: ASK_ALWAYS, newer: { ...ASK_ALWAYS, oslo_policy: newer } } });
});
afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  files[Symbol.dispose]();
});

interface Options {
  readonly region?: Policy;
  readonly url?: string;
  readonly timeout?: number;
}

function passwordSettings({ user, project, password }: Tenant, region: Policy = "older") {
  const { url } = cloud.keystone;
  return { method: "password", url, region, user, project, passwordFile: files.write(password) } as const;
}

function keystoreOf(tenant: Tenant, { region = "older", ...options }: Options = {}): BarbicanKeystore {
  return barbicanKeystore({ keystone: passwordSettings(tenant, region), ...options });
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "done",
    (thrown: unknown) => (thrown as LuksmithError).code,
  );
}

async function failure(promise: Promise<unknown>): Promise<LuksmithError> {
  return promise.then(
    () => expect.unreachable("it did not fail"),
    (thrown: unknown) => thrown as LuksmithError,
  );
}

describe("roles", () => {
  // measured, and in docs/keystores/barbican.md
  it.each<[role: string, Record<Policy, { reads: boolean; writes: boolean }>]>([
    ["creator", { older: { reads: true, writes: true }, newer: { reads: false, writes: false } }],
    ["member", { older: { reads: false, writes: false }, newer: { reads: true, writes: true } }],
    ["admin", { older: { reads: true, writes: true }, newer: { reads: true, writes: true } }],
    ["observer", { older: { reads: true, writes: false }, newer: { reads: false, writes: false } }],
    ["audit", { older: { reads: false, writes: false }, newer: { reads: false, writes: false } }],
    ["reader", { older: { reads: false, writes: false }, newer: { reads: false, writes: false } }],
  ])("%s is enough where it is, and nowhere else", async (role, policies) => {
    const owner = await cloud.tenant(["creator", "member"]);
    const user = await cloud.tenant([role], { project: owner });
    const look = async (region: Policy) => {
      const { reads, writes } = policies[region];
      const [owners, keystore] = [keystoreOf(owner, { region }), keystoreOf(user, { region })];
      const record = sampleRecord();
      await storeText(owners, record, "of the owner");
      const mayRead = reads ? "done" : "KEYSTORE_FORBIDDEN";
      const mayWrite = writes ? "done" : "KEYSTORE_FORBIDDEN";
      expect(await outcome(passphraseIn(keystore, record)), region).toBe(mayRead);
      expect(await outcome(storeText(keystore, sampleRecord(), "x")), region).toBe(mayWrite);
      expect(await outcome(keystore.update({ ...record, disk: "vdz" })), region).toBe(mayWrite);
      expect(await outcome(keystore.delete(keyUuidOf(record))), region).toBe(mayWrite);
    };
    await Promise.all([look("older"), look("newer")]);
  });

  it.each<[role: string, Policy, missing: RegExp]>([
    ["creator", "newer", /the role member .*enforce_new_defaults = true/],
    ["observer", "newer", /the role member .*enforce_new_defaults = true/],
    ["member", "older", /the role creator .*does not have enforce_new_defaults/],
    ["observer", "older", /the role creator .*observer may only read/],
    ["audit", "older", /the role creator in the project, or member where/],
    ["reader", "newer", /the role creator in the project, or member where/],
  ])(
    "%s: the error of a Barbican with the %s policy names the role that is missing",
    async (role, region, missing) => {
      const user = await cloud.tenant([role]);
      const error = await failure(storeText(keystoreOf(user, { region }), sampleRecord(), "x"));
      expect(error.code).toBe("KEYSTORE_FORBIDDEN");
      expect(error.hint).toMatch(missing);
      expect(error.why).toMatch(new RegExp(`user ${user.user} .* project ${user.project}: .*${role}`));
    },
  );

  it("that were withdrawn are missed at once, and kept keys are there when they are back", async () => {
    const user = await cloud.tenant(["creator", "reader"]);
    const keystore = keystoreOf(user);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const { admin } = cloud.keystone;
    await admin.withdraw("creator", user.userId, user.projectId);
    expect(await outcome(passphraseIn(keystore, record))).toBe("KEYSTORE_FORBIDDEN");
    await admin.grant("creator", user.userId, user.projectId);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });
});

describe("a user's token", () => {
  it("makes keys that belong to the user, whom an access list can make their only reader", async () => {
    const user = await cloud.tenant(["creator"]);
    const mate = await cloud.tenant(["observer"], { project: user });
    const text = await requestToken(cloud.keystone.url, user);
    using token = Secret.own(Buffer.from(text));
    const keystore = barbicanKeystore({ keystone: tokenSettings(), token });
    const record = sampleRecord();
    await storeText(keystore, record, "of the user");
    const [secret] = await secretsOf(text);
    expect(secret!.creator_id).toBe(user.userId);
    expect(await passphraseIn(keystoreOf(mate), record)).toEqual(Buffer.from("of the user"));

    await call(text, "PUT", `${secret!.path}/acl`, { read: { "project-access": false } });
    const error = await failure(passphraseIn(keystoreOf(mate), record));
    expect(error.code).toBe("KEYSTORE_FORBIDDEN");
    expect(error.hint).toContain("access list");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("of the user"));
  });

  it("that is revoked meanwhile is not believed any more, and the user is told to get another", async () => {
    const user = await cloud.tenant(["creator"]);
    const text = await requestToken(cloud.keystone.url, user);
    using token = Secret.own(Buffer.from(text));
    const keystore = barbicanKeystore({ keystone: tokenSettings(), token });
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await cloud.keystone.admin.revoke(text);
    const error = await failure(passphraseIn(keystore, record));
    expect(error).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    expect(error.hint).toContain("--token-file");
    expect(renderError(error)).not.toContain(text);
  });

  it("that nobody has handed over makes everything fail, and a hook's error says what to do", async () => {
    const keystore = barbicanKeystore({ keystone: tokenSettings() });
    for (const work of [keystore.list(), keystore.test(), storeText(keystore, sampleRecord(), "x")]) {
      const error = await failure(work);
      expect(error.code).toBe("KEYSTORE_AUTH_FAILED");
      expect(error.hint).toContain("application credential of the host");
    }
  });

  const tokenSettings = (): KeystoneSettings => ({
    method: "token",
    url: cloud.keystone.url,
    region: "older",
  });

  interface BarbicanSecret {
    readonly secret_ref: string;
    readonly creator_id: string;
  }

  async function secretsOf(token: string): Promise<(BarbicanSecret & { readonly path: string })[]> {
    const { secrets } = (await call(token, "GET", "/v1/secrets")) as { secrets: BarbicanSecret[] };
    return secrets.map((secret) => ({ ...secret, path: new URL(secret.secret_ref).pathname }));
  }

  async function call(token: string, method: string, path: string, body?: object): Promise<unknown> {
    const answer = await fetch(`${cloud.barbicans["older"]!.url}${path}`, {
      method,
      headers: { "x-auth-token": token, "content-type": "application/json" },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`Barbican: ${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }
});

describe("a token that Barbican refuses", () => {
  let user: Tenant;
  let record: KeyRecord;

  async function keystoreWithKey(keystone: KeystoneSettings): Promise<BarbicanKeystore> {
    const keystore = barbicanKeystore({ keystone });
    record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    return keystore;
  }

  it("is followed by another one, and nobody notices", async () => {
    user = await cloud.tenant(["creator"]);
    const keystore = await keystoreWithKey(passwordSettings(user));
    // ends every token of the user, and the password stays
    await cloud.keystone.admin.call("PATCH", `/users/${user.userId}`, { user: { enabled: false } });
    await cloud.keystone.admin.call("PATCH", `/users/${user.userId}`, { user: { enabled: true } });
    await nextSecond();
    const fetched = await Promise.all(Array.from({ length: 8 }, () => passphraseIn(keystore, record)));
    expect(fetched).toEqual(Array(8).fill(Buffer.from("passphrase")));
  });

  it("is followed by one from the new password, if the file has that by now", async () => {
    user = await cloud.tenant(["creator"]);
    const settings = passwordSettings(user);
    const keystore = await keystoreWithKey(settings);
    await cloud.keystone.admin.changeUser(user.userId, { password: "another password" });
    const error = await failure(passphraseIn(keystore, record));
    expect(error).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    expect(error.hint).toContain(settings.passwordFile);
    writeFileSync(settings.passwordFile, "another password");
    await nextSecond();
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("and whose application credential was deleted is the last one", async () => {
    user = await cloud.tenant(["creator"]);
    const { url, admin } = cloud.keystone;
    const { id, secret } = await admin.applicationCredential(user, user.userId);
    const secretFile = files.write(secret);
    const keystore = await keystoreWithKey({
      method: "application-credential",
      url,
      region: "older",
      id,
      secretFile,
    });
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    await admin.removeApplicationCredential(user, user.userId, id);
    const error = await failure(passphraseIn(keystore, record));
    expect(error).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    expect(renderError(error)).toContain(id);
    expect(renderError(error)).toContain(secretFile);
  });

  it("twice is not asked for a third time: the error names the credential", async () => {
    user = await cloud.tenant(["creator"]);
    await using line = await lineToBarbican();
    const keystore = keystoreOf(user, { url: `http://127.0.0.1:${line.port}` });
    // what a Barbican says that asks another Keystone
    line.weather = { kind: "corrupt", change: refused };
    const error = await failure(keystore.list());
    expect(error).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    expect(error.why).toContain(`user ${user.user} `);
    expect(error.hint).toContain("keystone.url");
    line.weather = { kind: "fine" };
    expect(await keystore.list()).toEqual([]);
  });

  const refused = (answer: Buffer) =>
    Buffer.from(answer.toString("latin1").replace(/^HTTP\/1.1 200 OK/, "HTTP/1.1 401 NO"), "latin1");

  const lineToBarbican = (): Promise<FaultyLine> => startFaultyLine(cloud.barbicans["older"]!);

  /** Keystone ends all tokens that were issued in the second of the event, the new ones as well. */
  const nextSecond = () => new Promise((resolve) => setTimeout(resolve, 1000 - (Date.now() % 1000)));
});

describe("a Barbican that cannot reach Keystone", () => {
  it("says so in a way that is understood, and works when Keystone is back", async () => {
    const user = await cloud.tenant(["creator"]);
    const keystore = keystoreOf(user);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    // it keeps its connections, which end with the first answer
    cloud.line.weather = { kind: "cut", after: 0 };
    const error = await failure(passphraseIn(keystore, record));
    cloud.line.weather = { kind: "fine" };
    expect(error).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    expect(error.why).toMatch(/cannot reach Keystone.*503/);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("and therefore does not answer is not waited for longer than allowed", async () => {
    const keystore = keystoreOf(await cloud.tenant(["creator"]), { timeout: 2 });
    cloud.line.weather = { kind: "hang" };
    const start = performance.now();
    const error = await failure(keystore.list());
    cloud.line.weather = { kind: "fine" };
    expect(error).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    expect(performance.now() - start).toBeLessThan(4000);
  });
});

describe("an address from the catalog", () => {
  it("that is another machine without TLS gets no token", async () => {
    const { admin, url } = cloud.keystone;
    const far = { region: "far", interface: "public", url: "http://barbican.example:9311" };
    const id = await admin.endpoint("key-manager", far);
    const user = await cloud.tenant(["creator"]);
    const settings = { ...passwordSettings(user), url, region: "far" };
    expect(await failure(barbicanKeystore({ keystone: settings }).list())).toMatchObject({
      code: "SETTINGS_INVALID",
    });
    await admin.removeEndpoint(id);
  });
});
