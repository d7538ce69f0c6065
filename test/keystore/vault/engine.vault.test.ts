import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import type { VaultKeystore } from "../../../src/keystore/vault/vault-keystore.js";
import { passphraseIn, replaceText, sampleRecord, storeText } from "../sample-key.js";
import { realVault, startFakeVault } from "./vault-server.js";
import { type VaultFixture, vaultFixture } from "./vault.fixture.js";

const fake = await startFakeVault();
const real = realVault();
const servers = [
  ["a fake of Vault", fake] as const,
  ...(real ? [["a real Vault or OpenBao", real] as const] : []),
];
afterAll(async () => {
  for (const [, server] of servers) await server[Symbol.asyncDispose]();
});

describe.each(servers)("the secrets engine of %s", (_, server) => {
  let fixture: VaultFixture;
  let keystore: VaultKeystore;

  beforeEach(async () => {
    fixture = await vaultFixture(server);
    ({ keystore } = fixture);
  });
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]();
  });
  const path = (part: string, { uuid }: KeyRecord) => `${fixture.mount}/${part}/luksmith/${uuid}`;
  const put = (record: KeyRecord, data: Record<string, unknown>) =>
    fixture.admin.data("POST", path("data", record), { data });

  it("has a passphrase that an administrator can read, and the record beside it", async () => {
    const record = sampleRecord();
    using passphrase = Secret.randomPassphrase();
    await keystore.store({ record, passphrase });
    const { data } = await fixture.admin.data("GET", path("data", record));
    expect(data).toEqual({ passphrase: passphrase.use(String), record: JSON.stringify(record) });
  });

  it("has other passphrases in base64, and says so", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "schlüssel");
    const { data } = await fixture.admin.data("GET", path("data", record));
    expect(data).toMatchObject({
      passphrase: Buffer.from("schlüssel").toString("base64"),
      encoding: "base64",
    });
  });

  it("gives back what somebody has written by hand", async () => {
    const record = sampleRecord();
    await put(record, { passphrase: 'with "quotes", <tags> and ümlauts', record: JSON.stringify(record) });
    expect(String(await passphraseIn(keystore, record))).toBe('with "quotes", <tags> and ümlauts');
  });

  it.each<[string, (record: KeyRecord) => Record<string, unknown>]>([
    ["no record", () => ({ passphrase: "x" })],
    ["a record that is an object", (record) => ({ passphrase: "x", record })],
    ["a record that is not JSON", () => ({ passphrase: "x", record: "{" })],
    ["half a record", ({ uuid }) => ({ passphrase: "x", record: JSON.stringify({ uuid }) })],
    ["another key's record", () => ({ passphrase: "x", record: JSON.stringify(sampleRecord()) })],
    ["no passphrase", (record) => ({ record: JSON.stringify(record) })],
    ["an empty passphrase", (record) => ({ passphrase: "", record: JSON.stringify(record) })],
    [
      "an unknown encoding",
      (record) => ({ passphrase: "x", encoding: "rot13", record: JSON.stringify(record) }),
    ],
    ["bad base64", (record) => ({ passphrase: "eA=!", encoding: "base64", record: JSON.stringify(record) })],
  ])("does not use a key with %s", async (_, data) => {
    const record = sampleRecord();
    await put(record, data(record));
    const damage = { code: "KEY_CORRUPT", hint: expect.stringContaining(record.uuid) as string };
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(damage);
    await expect(keystore.update(record)).rejects.toMatchObject(damage);
    await expect(keystore.list()).rejects.toMatchObject(damage);
  });

  it("has a key that somebody deleted, until he destroys it or brings it back", async () => {
    const [gone, stays] = [sampleRecord(), sampleRecord()];
    for (const record of [gone, stays]) await storeText(keystore, record, "passphrase");
    await fixture.admin.ask("DELETE", path("data", gone));
    const deleted = {
      code: "KEY_DELETED",
      hint: expect.stringContaining("vault kv undelete -versions=1") as string,
    };
    await expect(keystore.fetch(keyUuidOf(gone))).rejects.toMatchObject(deleted);
    await expect(keystore.update(gone)).rejects.toMatchObject(deleted);
    await expect(storeText(keystore, gone, "another")).rejects.toMatchObject({ code: "KEY_EXISTS" });
    expect(await keystore.list()).toEqual([stays]);
    await fixture.admin.ask("POST", path("undelete", gone), { versions: [1] });
    expect(String(await passphraseIn(keystore, gone))).toBe("passphrase");
    await fixture.admin.ask("POST", path("destroy", gone), { versions: [1] });
    await expect(keystore.fetch(keyUuidOf(gone))).rejects.toMatchObject({
      code: "KEY_DELETED",
      hint: expect.stringContaining("vault kv rollback") as string,
    });
    await keystore.delete(keyUuidOf(gone));
    expect(await keystore.fetch(keyUuidOf(gone))).toBeUndefined();
    await storeText(keystore, gone, "new");
    expect(String(await passphraseIn(keystore, gone))).toBe("new");
  });

  it("has nothing left of a key that Luksmith deleted, also of its older versions", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await keystore.update({ ...record, state: "active" });
    await keystore.delete(keyUuidOf(record));
    expect(await fixture.admin.data("GET", path("metadata", record))).toBeUndefined();
    expect(await fixture.admin.data("GET", `${path("data", record)}?version=1`)).toBeUndefined();
  });

  it("has nothing left of a former passphrase, also of its older versions", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "former");
    await keystore.update({ ...record, state: "active" });
    await replaceText(keystore, { ...record, state: "active", generation: 2 }, "new");
    const { versions } = await fixture.admin.data("GET", path("metadata", record));
    const destroyed = Object.values(versions as Record<string, { destroyed: boolean }>);
    expect(destroyed.map((version) => version.destroyed)).toEqual([true, true, false]);
    for (const version of [1, 2]) {
      const old = await fixture.admin.data("GET", `${path("data", record)}?version=${version}`);
      expect(JSON.stringify(old)).not.toContain("former");
    }
    expect(String(await passphraseIn(keystore, record))).toBe("new");
  });

  it.each<[string, (record: KeyRecord) => Promise<void>]>([
    ["an update", (record) => keystore.update({ ...record, rotatedAt: record.createdAt })],
    ["the same replacement", (record) => replaceText(keystore, record, "new")],
  ])("has a former passphrase destroyed by %s if who replaced it was killed before", async (_, goOn) => {
    const former = sampleRecord({ state: "active" });
    await storeText(keystore, former, "former");
    const startedAt = former.createdAt;
    const record = { ...former, generation: 2, rotation: { startedAt, keyslot: 1, former: 0 } };
    await put(record, { passphrase: "new", record: JSON.stringify(record) });
    expect(String(await passphraseIn(keystore, record))).toBe("new");
    await goOn(record);
    const { versions } = await fixture.admin.data("GET", path("metadata", record));
    expect(versions).toMatchObject({ 1: { destroyed: true } });
    expect(String(await passphraseIn(keystore, record))).toBe("new");
  });

  it("replaces nothing where it may not destroy what it replaces", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "former");
    const policy = `${fixture.policy}-without-destroy`;
    await fixture.admin.policy(policy, {
      [`${fixture.mount}/data/luksmith/*`]: ["create", "read", "update"],
      [`${fixture.mount}/metadata/luksmith/*`]: ["list", "read", "delete"],
    });
    const theirs = fixture.make({ auth: await fixture.appRole({ token_policies: [policy] }) });
    await expect(replaceText(theirs, { ...record, generation: 2 }, "new")).rejects.toMatchObject({
      code: "KEYSTORE_FORBIDDEN",
      hint: expect.stringContaining("/destroy/luksmith/*") as string,
    });
    expect(await keystore.list()).toEqual([record]);
    expect(String(await passphraseIn(keystore, record))).toBe("former");
    await fixture.admin.ask("DELETE", `sys/policies/acl/${policy}`);
  });

  it("keeps all of several updates at the same time, and one passphrase", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "stays");
    const names = ["a", "b", "c"];
    await Promise.all(
      names.map((name) => fixture.another().update({ ...record, guest: { ...record.guest, name } })),
    );
    const { versions } = await fixture.admin.data("GET", path("metadata", record));
    expect(Object.keys(versions as object)).toHaveLength(1 + names.length);
    expect(String(await passphraseIn(keystore, record))).toBe("stays");
  });

  it("gets no new version for an update that changes nothing", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "stays");
    await keystore.update(record);
    expect(await fixture.admin.data("GET", path("metadata", record))).toMatchObject({ current_version: 1 });
  });

  it("keeps a key whose oldest versions are gone", async () => {
    const record = sampleRecord();
    await fixture.admin.ask("POST", `${fixture.mount}/config`, { max_versions: 2 });
    await storeText(keystore, record, "stays");
    for (const disk of ["vdb", "vdc", "vdd"]) await keystore.update({ ...record, disk });
    expect(String(await passphraseIn(keystore, record))).toBe("stays");
    expect(await keystore.list()).toEqual([{ ...record, disk: "vdd" }]);
  });

  describe("that deletes by age", () => {
    const keepFor = (time: string) =>
      fixture.admin.ask("POST", `${fixture.mount}/config`, { delete_version_after: time });
    const refusal = {
      code: "KEYSTORE_WRITE_FAILED",
      hint: expect.stringContaining("delete_version_after") as string,
    };
    let old: KeyRecord;
    beforeEach(async () => {
      old = sampleRecord();
      await storeText(keystore, old, "old");
    });

    it("gets no key, and no new version of one", async () => {
      await keepFor("1h");
      const record = sampleRecord();
      await expect(storeText(keystore, record, "x")).rejects.toMatchObject(refusal);
      expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
      await expect(keystore.update({ ...old, disk: "vdb" })).rejects.toMatchObject(refusal);
      const about = await fixture.admin.data("GET", path("metadata", old));
      expect(about).toMatchObject({ current_version: 1, versions: { 1: { deletion_time: "" } } });
      expect(await keystore.list()).toEqual([old]);
      await expect(keystore.test()).rejects.toMatchObject(refusal);
    });

    it("gets no new version of a key that has such an age of its own", async () => {
      await fixture.admin.ask("POST", path("metadata", old), { delete_version_after: "1h" });
      await expect(keystore.update({ ...old, disk: "vdb" })).rejects.toMatchObject(refusal);
      expect(await fixture.admin.data("GET", path("metadata", old))).toMatchObject({ current_version: 1 });
      await keepFor("-1s");
      await keystore.update({ ...old, disk: "vdb" });
      expect(await keystore.list()).toEqual([{ ...old, disk: "vdb" }]);
    });

    it("may keep it for itself: then the error says which version must lose its time", async () => {
      await keepFor("1h");
      const policy = `${fixture.mount}-older`;
      await fixture.admin.policy(policy, {
        [`${fixture.mount}/data/luksmith/*`]: ["create", "read", "update"],
        [`${fixture.mount}/metadata/luksmith/*`]: ["list", "delete"],
      });
      const token = await fixture.admin.token({ policies: [policy], no_default_policy: true });
      const auths = [
        await fixture.appRole({ token_policies: [policy] }),
        { method: "token", tokenFile: fixture.file(token) } as const,
      ];
      for (const [index, auth] of auths.entries()) {
        const update = fixture.make({ auth }).update({ ...old, disk: `vd${index}` });
        await expect(update).rejects.toMatchObject({
          code: "KEYSTORE_WRITE_FAILED",
          hint: expect.stringContaining(`undelete -versions=${index + 2}`) as string,
        });
      }
    });

    it("gives out a key that it will delete, says so in a test, and keeps what is written after that", async () => {
      await keepFor("1h");
      await put(old, { passphrase: "limited", record: JSON.stringify(old) });
      await keepFor("0s");
      expect(String(await passphraseIn(keystore, old))).toBe("limited");
      await expect(keystore.test()).rejects.toMatchObject({
        code: "KEYSTORE_WRITE_FAILED",
        hint: expect.stringMatching(`undelete -versions=2 .*${old.uuid}`) as string,
      });
      await keystore.update(old);
      await keystore.test();
      expect(String(await passphraseIn(keystore, old))).toBe("limited");
    });
  });

  it("may hold other things beside the keys", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    for (const name of ["README", "folder/secret", record.uuid.toUpperCase()]) {
      await fixture.admin.ask("POST", `${fixture.mount}/data/luksmith/${name}`, {
        data: { note: "not a key" },
      });
    }
    expect(await keystore.list()).toEqual([record]);
  });

  it("works with check-and-set required", async () => {
    await fixture.admin.ask("POST", `${fixture.mount}/config`, { cas_required: true });
    await keystore.test();
  });

  it("may have the keys under several prefixes and mounts with slashes", async () => {
    const mount = `team/${randomUUID().slice(0, 8)}`;
    await fixture.admin.enable(mount);
    await fixture.admin.luksmithPolicy(mount.replace("/", "-"), mount, "hosts/one");
    const auth = await fixture.appRole({ token_policies: [mount.replace("/", "-")] });
    const nested = fixture.make({ mount, prefix: "hosts/one", auth });
    const record = sampleRecord();
    await storeText(nested, record, "passphrase");
    expect(await nested.list()).toEqual([record]);
    expect(await keystore.list()).toEqual([]);
    await nested.test();
    await fixture.admin.ask("DELETE", `sys/mounts/${mount}`);
  });

  describe("that is another one than Luksmith needs", () => {
    const operations = (other: VaultKeystore): (() => Promise<unknown>)[] => [
      () => other.fetch(keyUuidOf(sampleRecord())),
      () => storeText(other, sampleRecord(), "x"),
      () => other.update(sampleRecord()),
      () => other.delete(keyUuidOf(sampleRecord())),
      () => other.list(),
      () => other.test(),
    ];

    it("is version 1: nothing is stored, and nothing is said to be absent", async () => {
      const mount = `${fixture.mount}-v1`;
      await fixture.admin.enable(mount, 1);
      await fixture.admin.policy(mount, { [`${mount}/*`]: ["create", "read", "update", "delete", "list"] });
      const auth = await fixture.appRole({ token_policies: [mount] });
      const other = fixture.make({ mount, auth });
      for (const operation of operations(other)) {
        await expect(operation()).rejects.toMatchObject({ code: "SETTINGS_INVALID" });
      }
      expect(await fixture.admin.data("GET", `${mount}/data/luksmith/?list=true`)).toBeUndefined();
      const record = sampleRecord();
      await fixture.admin.ask("POST", `${mount}/data/luksmith/${record.uuid}`, { data: { passphrase: "x" } });
      await expect(fixture.make({ mount, auth }).fetch(keyUuidOf(record))).rejects.toMatchObject({
        code: "SETTINGS_INVALID",
      });
      await fixture.admin.ask("DELETE", `sys/mounts/${mount}`);
    });

    it("is not there", async () => {
      await fixture.admin.luksmithPolicy(`${fixture.mount}-no`, `${fixture.mount}-no`);
      const auth = await fixture.appRole({ token_policies: [`${fixture.mount}-no`] });
      for (const operation of operations(fixture.make({ mount: `${fixture.mount}-no`, auth }))) {
        await expect(operation()).rejects.toMatchObject({
          code: expect.stringMatching(/^(SETTINGS_INVALID|KEYSTORE_FORBIDDEN)$/) as string,
          hint: expect.stringContaining("mount") as string,
        });
      }
    });
  });

  it.each<
    [string, "data" | "metadata", string[], (ks: VaultKeystore, record: KeyRecord) => Promise<unknown>]
  >([
    ["create", "data", ["read", "update"], (ks) => storeText(ks, sampleRecord(), "x")],
    ["read", "data", ["create", "update"], (ks, record) => ks.fetch(keyUuidOf(record))],
    ["update", "data", ["create", "read"], (ks, record) => ks.update({ ...record, disk: "vdb" })],
    ["delete", "metadata", ["list"], (ks, record) => ks.delete(keyUuidOf(record))],
    ["list", "metadata", ["delete"], (ks) => ks.list()],
  ])("says which policy is missing without %s on %s", async (_, part, capabilities, operation) => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const policy = `${fixture.mount}-half`;
    await fixture.admin.policy(policy, {
      [`${fixture.mount}/data/luksmith/*`]: ["create", "read", "update"],
      [`${fixture.mount}/metadata/luksmith/*`]: ["list", "delete"],
      [`${fixture.mount}/${part}/luksmith/*`]: capabilities,
    });
    const auth = await fixture.appRole({ token_policies: [policy] });
    const half = fixture.make({ auth });
    const refusal = {
      code: "KEYSTORE_FORBIDDEN",
      hint: expect.stringContaining(`path "${fixture.mount}/data/luksmith/*" { capabilities =`) as string,
    };
    await expect(operation(half, record)).rejects.toMatchObject(refusal);
    await expect(half.test()).rejects.toMatchObject(refusal);
    expect(await keystore.list()).toEqual(expect.arrayContaining([record]));
  });
});

it("keeps the keys of a namespace apart, on a fake of Vault", async () => {
  await using parent = await vaultFixture(fake);
  await parent.admin.ask("POST", "sys/namespaces/team", {});
  await using child = await vaultFixture(fake, { namespace: "team" });
  const record = sampleRecord();
  await storeText(child.keystore, record, "of the team");
  await child.keystore.test();
  expect(await child.keystore.list()).toEqual([record]);
  expect(await parent.keystore.list()).toEqual([]);
  const stranger = child.make({ auth: parent.auth });
  await expect(stranger.list()).rejects.toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
});
