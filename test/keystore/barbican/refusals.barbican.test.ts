import { execa, execaSync } from "execa";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import type { CompleteKeystore } from "../../contract/keystore.contract.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { startFaultyLine } from "../../lab/faulty-line.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { type Ask, askingAs, barbicanKeystore } from "./barbican-fixture.js";

let server: BarbicanServer;
let newPolicy: BarbicanServer;
beforeAll(async () => {
  [server, newPolicy] = await Promise.all([
    startBarbican(),
    startBarbican({
      configuration: { oslo_policy: { enforce_scope: "true", enforce_new_defaults: "true" } },
    }),
  ]);
});
afterAll(async () => {
  await Promise.all([server.stop(), newPolicy.stop()]);
});

let projectId: string;
let keystore: CompleteKeystore;
let ask: Ask;
beforeEach(() => {
  projectId = randomUUID();
  keystore = barbicanKeystore({ url: server.url, projectId });
  ask = askingAs(server, projectId);
});

/** Luksmith with these roles in the project of the test. */
function withRoles(roles: string, { url } = server, user = "luksmith"): CompleteKeystore {
  return barbicanKeystore({ url, projectId, identity: { "x-roles": roles, "x-user-id": user } });
}

function refusal(hint: RegExp): object {
  return { code: "KEYSTORE_FORBIDDEN", hint: expect.stringMatching(hint) as string };
}

describe("roles in Barbican", () => {
  it("creator is enough for everything", async () => {
    await useAll(withRoles("creator"));
  });

  it("member is enough for everything under the new policy, and creator is not", async () => {
    await useAll(withRoles("member", newPolicy));
    const creator = withRoles("creator", newPolicy);
    await expect(storeText(creator, sampleRecord(), "x")).rejects.toMatchObject(
      refusal(/member where Barbican/),
    );
  });

  it("member is not enough under the older policy", async () => {
    const member = withRoles("member");
    await expect(storeText(member, sampleRecord(), "x")).rejects.toMatchObject(refusal(/role creator/));
    await expect(member.test()).rejects.toMatchObject(refusal(/role creator/));
  });

  it("observer is enough for reading", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const observer = withRoles("observer");
    expect(await passphraseIn(observer, record)).toEqual(Buffer.from("passphrase"));
    expect(await observer.list()).toEqual([record]);
    const missing = refusal(/role creator/);
    await expect(storeText(observer, sampleRecord(), "x")).rejects.toMatchObject(missing);
    await expect(observer.update({ ...record, state: "active" })).rejects.toMatchObject(missing);
    await expect(observer.delete(keyUuidOf(record))).rejects.toMatchObject(missing);
    await expect(observer.test()).rejects.toMatchObject(missing);
    expect(await keystore.list()).toEqual([record]);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });
});

describe("an access list in Barbican", () => {
  it("that shuts the project out is named", async () => {
    const record = sampleRecord();
    await storeText(withRoles("creator", server, "owner"), record, "passphrase");
    const { secrets } = (await ask("GET /v1/secrets")).json;
    const path = new URL(secrets[0]!.secret_ref).pathname;
    expect((await ask(`PUT ${path}/acl`, { read: { "project-access": false } })).status).toBe(200);
    const another = withRoles("creator", server, "another");
    const shutOut = refusal(/access list \(ACL\)/);
    await expect(another.fetch(keyUuidOf(record))).rejects.toMatchObject(shutOut);
    await expect(another.list()).rejects.toMatchObject(shutOut);
    await expect(another.delete(keyUuidOf(record))).rejects.toMatchObject(shutOut);
    const owner = withRoles("creator", server, "owner");
    expect(await passphraseIn(owner, record)).toEqual(Buffer.from("passphrase"));
    await ask(`PUT ${path}/acl`, { read: { "project-access": false, users: ["another"] } });
    expect(await passphraseIn(another, record)).toEqual(Buffer.from("passphrase"));
  });
});

describe("a quota in Barbican", () => {
  const setQuota = (quotas: object) =>
    ask(
      `PUT /v1/project-quotas/${projectId}`,
      { project_quotas: quotas },
      { "x-roles": "key-manager:service-admin" },
    );

  it("of secrets is named, and what is stored stays", async () => {
    const [stored, tooMany] = [sampleRecord(), sampleRecord()];
    expect((await setQuota({ secrets: 1 })).status).toBe(204);
    await storeText(keystore, stored, "passphrase");
    await expect(storeText(keystore, tooMany, "x")).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
      why: expect.stringContaining("quota of secrets") as string,
    });
    expect(await keystore.list()).toEqual([stored]);
    await keystore.delete(keyUuidOf(stored));
    await storeText(keystore, tooMany, "there is room again");
  });

  it("of consumers is named, and leaves nothing half made", async () => {
    await setQuota({ secrets: -1, consumers: 0 });
    await expect(storeText(keystore, sampleRecord(), "x")).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
      why: expect.stringContaining("quota of consumers") as string,
    });
    expect((await ask("GET /v1/secrets")).json.total).toBe(0);
  });
});

describe("a Barbican that cannot answer", () => {
  it("is told from one that says no: its database fails", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await database(AWAY);
    try {
      const failure = { code: "KEYSTORE_UNAVAILABLE", why: expect.stringContaining("500") as string };
      await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(failure);
      await expect(keystore.list()).rejects.toMatchObject(failure);
      await expect(keystore.delete(keyUuidOf(record))).rejects.toMatchObject(failure);
      await expect(keystore.test()).rejects.toMatchObject(failure);
    } finally {
      await database(RESTORE);
    }
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("is asked again, where its database is away for a moment", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await using line = await startFaultyLine(server);
    const patient = barbicanKeystore({ url: `http://127.0.0.1:${line.port}`, projectId });
    let failures = 0;
    line.weather = {
      kind: "corrupt",
      change: (answer) => {
        if (!answer.includes(" 500 ")) return answer;
        failures++;
        execaSync("sqlite3", ["-bail", databaseFile()], { input: RESTORE });
        return answer;
      },
    };
    await database(AWAY);
    expect(await passphraseIn(patient, record)).toEqual(Buffer.from("passphrase"));
    expect(failures).toBe(1);
  });

  it("is told from one that is not there: another server, another path", async () => {
    const wrongPath = barbicanKeystore({ url: `${server.url}/nowhere`, projectId });
    await expect(wrongPath.fetch(keyUuidOf(sampleRecord()))).rejects.toMatchObject({
      code: "KEYSTORE_ANSWER_INVALID",
    });
    await expect(wrongPath.test()).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
  });

  it("is told what it lacks: a token, a project", async () => {
    const noToken = barbicanKeystore({ url: `${server.url}/guarded`, projectId });
    await expect(noToken.list()).rejects.toMatchObject({
      code: "KEYSTORE_AUTH_FAILED",
      hint: expect.stringContaining("set keystone") as string,
    });
    const noProject = barbicanKeystore({ url: server.url, projectId, identity: { "x-project-id": "" } });
    await expect(noProject.list()).rejects.toMatchObject({
      code: "KEYSTORE_AUTH_FAILED",
      hint: expect.stringContaining("set projectId") as string,
    });
  });
});

describe("an address of Barbican", () => {
  it.each(["/", "/v1", "/v1/"])("may end with %s", async (end) => {
    await useAll(barbicanKeystore({ url: `${server.url}${end}`, projectId }));
  });

  it("is the one in the settings, whatever Barbican believes that it is", async () => {
    await using mistaken = await startBarbican({
      configuration: { DEFAULT: { host_href: "http://localhost:1" } },
    });
    await useAll(barbicanKeystore({ url: mistaken.url, projectId }));
  });
});

async function useAll(tried: CompleteKeystore): Promise<void> {
  const record = sampleRecord();
  await storeText(tried, record, "passphrase");
  await tried.update({ ...record, state: "active" });
  expect(await passphraseIn(tried, record)).toEqual(Buffer.from("passphrase"));
  expect(await tried.list()).toEqual([{ ...record, state: "active" }]);
  await tried.delete(keyUuidOf(record));
  await tried.test();
  expect(await tried.list()).toEqual([]);
}

/** Other tables go on meaning the one of this name. */
const RENAME = ".timeout 5000\nPRAGMA legacy_alter_table=ON;\n";
const AWAY = `${RENAME}ALTER TABLE secrets RENAME TO away;`;
const RESTORE = `${RENAME}ALTER TABLE away RENAME TO secrets;`;

function databaseFile(): string {
  return join(server.dir, "barbican.sqlite");
}

async function database(sql: string): Promise<void> {
  await execa("sqlite3", ["-bail", databaseFile()], { input: sql });
}
