import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import type { VaultKeystore } from "../../../src/keystore/vault/vault-keystore.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { startFakeVault } from "./vault-server.js";
import { type VaultFixture, vaultFixture } from "./vault.fixture.js";

const fake = await startFakeVault();
afterAll(() => fake[Symbol.asyncDispose]());

let fixture: VaultFixture;
let keystore: VaultKeystore;
beforeEach(async () => {
  fixture = await vaultFixture(fake);
  ({ keystore } = fixture);
  await fake.requests();
});
afterEach(async () => {
  await fake.calm();
  await fixture.admin.ask("PUT", "sys/unseal");
  await fixture[Symbol.asyncDispose]();
});
const absent = (of = keystore) => of.fetch(newKeyUuid());
const html = "<html>Sign in</html>";

describe("a fake of Vault that is not ready", () => {
  it("is sealed: no key is said to be absent, and nothing is tried again", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await fixture.admin.ask("PUT", "sys/seal");
    await fake.requests();
    const sealed = {
      code: "KEYSTORE_UNAVAILABLE",
      hint: expect.stringContaining("operator unseal") as string,
    };
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(sealed);
    expect(await fake.requests()).toHaveLength(1);
    await expect(fixture.make().fetch(keyUuidOf(record))).rejects.toMatchObject(sealed);
    await expect(storeText(keystore, sampleRecord(), "x")).rejects.toMatchObject(sealed);
    await expect(keystore.test()).rejects.toMatchObject(sealed);
    await fixture.admin.ask("PUT", "sys/unseal");
    expect(String(await passphraseIn(keystore, record))).toBe("passphrase");
  });

  it.each([
    [429, "a standby"],
    [473, "a performance standby"],
  ])("is usable with health %i: %s", async (status) => {
    const passed: string[] = [];
    await fake.trap({ path: "sys/health", when: "after", action: { status, body: { initialized: true } } });
    await keystore.test((check) => passed.push(check));
    expect(passed).toEqual(["reached", "authenticated", "round trip"]);
  });

  it.each([
    [472, "disaster recovery"],
    [501, "not initialized"],
    [503, "sealed"],
    [530, "removed from its cluster"],
  ])("says why with health %i: %s", async (status, why) => {
    await fake.trap({ path: "sys/health", when: "after", action: { status, body: { initialized: false } } });
    const passed: string[] = [];
    await expect(keystore.test((check) => passed.push(check))).rejects.toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
      why: expect.stringContaining(why) as string,
    });
    expect(passed).toEqual([]);
  });

  it("sends to another node: the credentials do not go there", async () => {
    let visits = 0;
    const other = createServer((_, response) => {
      visits++;
      response.end("{}");
    }).listen(0, "127.0.0.1");
    await once(other, "listening");
    const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/v1/`;
    const away = { status: 307, headers: { location } };
    await fake.trap({ path: "/login", when: "before", action: away });
    const refusal = { code: "KEYSTORE_UNAVAILABLE", hint: expect.stringContaining("active node") as string };
    await expect(absent()).rejects.toMatchObject(refusal);
    await absent();
    await fake.trap({ path: "/data/", when: "before", action: away });
    await expect(storeText(keystore, sampleRecord(), "x")).rejects.toMatchObject(refusal);
    other.close();
    expect(visits).toBe(0);
  });

  it.each([
    [412, ["required index state not present"]],
    [429, ['request path "x": rate limit quota exceeded']],
    [500, ["local node not active but active cluster node not found"]],
    [502, undefined],
    [504, undefined],
  ])("is asked again after a passing %i", async (status, errors) => {
    const action = { status, body: errors === undefined ? html : { errors } };
    const record = sampleRecord();
    await fake.trap({ path: "/data/", method: "POST", when: "before", action, count: 2 });
    await storeText(keystore, record, "passphrase");
    await fake.trap({ path: "/data/", method: "GET", when: "before", action, count: 2 });
    expect(String(await passphraseIn(keystore, record))).toBe("passphrase");
    await fake.trap({ path: "/data/", when: "before", action, count: 9 });
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
  });

  it("says how far it is with a write, and is asked for no less afterwards", async () => {
    const headers = { "x-vault-index": "v1:index-of-the-write" };
    const action = { status: 200, headers, body: { data: { version: 1, deletion_time: "" } } };
    await fake.trap({ path: "/data/", method: "POST", when: "after", action });
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await fake.requests();
    await passphraseIn(keystore, record);
    expect(await fake.requests()).toEqual([expect.stringMatching(/ @v1:index-of-the-write$/)]);
  });
});

describe("what is not an answer of Vault", () => {
  it.each<[string, { status: number; body?: unknown }]>([
    ["a page", { status: 200, body: html }],
    ["a page that says 404", { status: 404, body: html }],
    ["404 with words", { status: 404, body: { errors: ["unknown host"] } }],
    ["404 without errors", { status: 404, body: {} }],
    ["404 without a body", { status: 404 }],
    ["nothing", { status: 204 }],
    ["an object without data", { status: 200, body: {} }],
    ["a list", { status: 200, body: [] }],
    ["another refusal", { status: 405, body: { errors: ["unsupported operation"] } }],
    ["a page that says 401", { status: 401, body: html }],
    ["a page that says 403", { status: 403, body: html }],
    ["a page that says 407", { status: 407, body: html }],
    ["403 without a body", { status: 403 }],
    ["403 without a reason", { status: 403, body: { errors: [] } }],
    ["somebody else's 403", { status: 403, body: { errors: [{ title: "Forbidden" }] } }],
    ["another one's 403", { status: 403, body: { message: "Forbidden", data: {} } }],
  ])("is not believed: %s", async (_, action) => {
    await absent();
    const record = sampleRecord();
    const invalid = { code: "KEYSTORE_ANSWER_INVALID" };
    await fake.trap({ path: fixture.mount, when: "before", action, count: 99 });
    await expect(absent()).rejects.toMatchObject(invalid);
    await expect(storeText(keystore, record, "x")).rejects.toMatchObject(invalid);
    await expect(keystore.list()).rejects.toMatchObject(invalid);
    await fake.calm();
    await fake.trap({ path: "/login", when: "before", action, count: 99 });
    await expect(fixture.make().list()).rejects.toMatchObject(invalid);
    await fake.calm();
    expect(await keystore.list()).toEqual([]);
  });

  it("is not believed of a token: a page of a proxy", async () => {
    const token = await fixture.admin.token({ policies: [fixture.policy] });
    const auth = { method: "token", tokenFile: fixture.file(token) } as const;
    const page = { status: 403, body: html };
    const invalid = { code: "KEYSTORE_ANSWER_INVALID" };
    const known = fixture.make({ auth });
    await absent(known);
    await fake.trap({ path: "", when: "before", action: page, count: 99 });
    await expect(absent(known)).rejects.toMatchObject(invalid);
    await expect(absent(fixture.make({ auth }))).rejects.toMatchObject(invalid);
    await fake.calm();
    // the server refuses, and only what it is asked then is in vain
    const denied = { status: 403, body: { errors: ["permission denied"] } };
    await fake.trap({ path: "/data/", when: "before", action: denied });
    await fake.trap({ path: "lookup-self", when: "before", action: page });
    await expect(absent(known)).rejects.toMatchObject(invalid);
  });
});

describe("a lost answer", () => {
  it.each(["before", "after"] as const)("of a store does not matter, %s the key is there", async (when) => {
    const record = sampleRecord();
    await fake.trap({ path: "/data/", method: "POST", when, action: "reset", count: 2 });
    await storeText(keystore, record, "passphrase");
    expect(String(await passphraseIn(keystore, record))).toBe("passphrase");
    const { versions } = await fixture.admin.data("GET", `${fixture.mount}/metadata/luksmith/${record.uuid}`);
    expect(Object.keys(versions as object)).toEqual(["1"]);
  });

  it("of a store that came too late is no success", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "first");
    for (const text of ["second", "first"]) {
      await fake.trap({ path: "/data/", method: "POST", when: "before", action: "reset" });
      const mine = { ...record, disk: text };
      await expect(storeText(keystore, mine, text)).rejects.toMatchObject({ code: "KEY_EXISTS" });
    }
    expect(await keystore.list()).toEqual([record]);
  });

  it("of a store does not hide that the key would be deleted by itself", async () => {
    await fixture.admin.ask("POST", `${fixture.mount}/config`, { delete_version_after: "1h" });
    const record = sampleRecord();
    await fake.trap({ path: "/data/", method: "POST", when: "after", action: "reset" });
    await expect(storeText(keystore, record, "passphrase")).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
      hint: expect.stringContaining("delete_version_after") as string,
    });
    expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
  });

  it("of a store that is lost again and again is an error, and the key is whole or not there", async () => {
    const record = sampleRecord();
    await fake.trap({ path: "/data/", method: "POST", when: "after", action: "reset", count: 99 });
    await expect(storeText(keystore, record, "passphrase")).rejects.toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
    });
    expect(String(await passphraseIn(keystore, record))).toBe("passphrase");
  });

  it("of an update does not matter", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "stays");
    for (const when of ["before", "after"] as const) {
      await fake.trap({ path: "/data/", method: "POST", when, action: "reset" });
      await keystore.update({ ...record, disk: when });
      expect(await keystore.list()).toEqual([{ ...record, disk: when }]);
    }
    expect(String(await passphraseIn(keystore, record))).toBe("stays");
    expect(
      await fixture.admin.data("GET", `${fixture.mount}/metadata/luksmith/${record.uuid}`),
    ).toMatchObject({ current_version: 3 });
  });

  it("of an update does not hide that the new version would be deleted by itself", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "stays");
    await fixture.admin.ask("POST", `${fixture.mount}/config`, { delete_version_after: "1h" });
    // as a server says it that does not let us look
    const denied = { status: 403, body: { errors: ["permission denied"] } };
    await fake.trap({ path: "/config", method: "GET", when: "before", action: denied });
    await fake.trap({ path: "/data/", method: "POST", when: "after", action: "reset" });
    await expect(keystore.update({ ...record, disk: "vdb" })).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
      hint: expect.stringContaining("delete_version_after") as string,
    });
  });

  it("of a deletion does not matter", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await fake.trap({ path: "/metadata/", method: "DELETE", when: "after", action: "reset" });
    await keystore.delete(keyUuidOf(record));
    expect(await keystore.list()).toEqual([]);
  });
});

describe("a fake of Vault that is killed (kill -9)", () => {
  const steps = [
    ["the login", "/login"],
    ["the look at the engine", "sys/internal/ui/mounts"],
    ["a read", "GET /data/"],
    ["a write", "POST /data/"],
    ["a deletion", "DELETE /metadata/"],
  ] as const;
  const whens = ["before", "after"] as const;

  it.each(steps.flatMap((step) => whens.map((when) => [...step, when] as const)))(
    "in %s loses no key (%s, %s)",
    async (_, part, when) => {
      const [method, path] = part.includes(" ") ? (part.split(" ") as [string, string]) : [undefined, part];
      const kept = sampleRecord();
      await storeText(keystore, kept, "kept");
      const record = sampleRecord();
      const victim = fixture.make({ timeout: 3 });
      await fake.trap({ path, ...(method && { method }), when, action: "die" });
      const attempt = async () => {
        await storeText(victim, record, "passphrase");
        await victim.update({ ...record, state: "active" });
        await victim.delete(keyUuidOf(record));
      };
      const thrown = await attempt().catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(LuksmithError);
      expect((thrown as LuksmithError).code).toBe("KEYSTORE_UNAVAILABLE");
      await fake.restart();
      expect(String(await passphraseIn(victim, kept))).toBe("kept");
      const left = await passphraseIn(victim, record);
      if (left === undefined) await storeText(victim, record, "passphrase");
      expect(String(await passphraseIn(victim, record))).toBe("passphrase");
      await victim.delete(keyUuidOf(record));
      expect(await victim.list()).toEqual([kept]);
    },
  );
});
