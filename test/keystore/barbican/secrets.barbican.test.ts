import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import type { CompleteKeystore } from "../../contract/keystore.contract.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { type Ask, askingAs, barbicanKeystore, inDatabase, type SecretJson } from "./barbican-fixture.js";

let server: BarbicanServer;
beforeAll(async () => {
  server = await startBarbican();
});
afterAll(() => server.stop());

let projectId: string;
let keystore: CompleteKeystore;
let ask: Ask;
beforeEach(() => {
  projectId = randomUUID();
  keystore = barbicanKeystore({ url: server.url, projectId });
  ask = askingAs(server, projectId);
});

const TEXT = { "content-type": "text/plain" };
const ours = { service: "luksmith", resource_type: "volume" };

describe("a key in Barbican", () => {
  it("is a passphrase that people find by guest and disk, and read as it is", async () => {
    const record = sampleRecord({ guest: { id: "101", name: "wéb 1" }, disk: "scsi0" });
    await storeText(keystore, record, "pässphräse ключ");
    const [secret, ...others] = (await ask("GET /v1/secrets?name=luksmith%20w%C3%A9b%201%20scsi0")).json
      .secrets;
    expect(others).toEqual([]);
    expect(secret).toMatchObject({
      secret_type: "passphrase",
      content_types: { default: "text/plain" },
      mode: `luksmith:${record.uuid}`,
      algorithm: null,
      expiration: null,
    });
    const path = `/v1/secrets/${idOf(secret!)}`;
    expect(await ask(`GET ${path}/payload`, undefined, { accept: "text/plain" })).toMatchObject({
      text: "pässphräse ключ",
    });
  });

  it("is bytes where text would change: around white space, with control characters, without UTF-8", async () => {
    for (const bytes of [" x", "x\n", "a\0b", Buffer.from([0xff, 0xfe])].map((value) =>
      Buffer.from(value as string),
    )) {
      const record = sampleRecord();
      using passphrase = Secret.own(Buffer.from(bytes));
      await keystore.store({ record, passphrase });
      expect(await onlySecret(record)).toMatchObject({
        content_types: { default: "application/octet-stream" },
      });
      expect(await passphraseIn(keystore, record)).toEqual(bytes);
    }
  });

  it("is named within what Barbican and its databases can keep", async () => {
    const names = ["x".repeat(400), "ключ 🔑 \u0000\u202e\ud800", ""];
    for (const name of names) {
      const record = sampleRecord({ guest: { id: "7", name } });
      await storeText(keystore, record, "passphrase");
      const secret = await onlySecret(record);
      expect(secret.name).toMatch(/^luksmith.* vda$/);
      expect(secret.name.length).toBeLessThanOrEqual(255);
      expect(secret.name).not.toMatch(/[\p{C}\u{10000}-\u{10ffff}]/u);
      expect(await keystore.list()).toEqual([record]);
      await keystore.delete(keyUuidOf(record));
    }
  });

  it("has its record in pieces that every database keeps", async () => {
    const record = sampleRecord({ volume: `/srv/${"ключ 🔑 ".repeat(300)}` });
    await storeText(keystore, record, "passphrase");
    const { metadata } = (await ask(`GET /v1/secrets/${idOf(await onlySecret(record))}/metadata`)).json;
    const pieces = Object.values(metadata);
    expect(pieces.length).toBeGreaterThan(20);
    for (const piece of pieces) expect(piece).toMatch(/^[!-~]{1,255}$/);
    expect(await keystore.list()).toEqual([record]);
    await keystore.update({ ...record, volume: "/srv/short" });
    expect(await keystore.list()).toEqual([{ ...record, volume: "/srv/short" }]);
  });

  it("keeps what others write beside its record, and its name, when the guest is renamed", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const id = idOf(await onlySecret(record));
    await ask(`POST /v1/secrets/${id}/metadata`, { key: "ticket", value: "4711" });
    const renamed = { ...record, guest: { id: record.guest.id, name: "web2" } };
    await keystore.update(renamed);
    expect((await ask(`GET /v1/secrets/${id}/metadata/ticket`)).json).toEqual({
      key: "ticket",
      value: "4711",
    });
    expect((await onlySecret(record)).name).toBe("luksmith web1 vda");
    expect(await keystore.find({ guestId: record.guest.id })).toEqual([renamed]);
  });

  it("may be as long as Barbican permits, and leaves nothing where it is longer", async () => {
    const [longest, longer] = [sampleRecord(), sampleRecord()];
    await storeText(keystore, longest, "x".repeat(20_000));
    expect(await passphraseIn(keystore, longest)).toHaveLength(20_000);
    await expect(storeText(keystore, longer, "x".repeat(20_001))).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
      why: expect.stringContaining("413") as string,
    });
    expect((await ask("GET /v1/secrets")).json.total).toBe(1);
  });
});

describe("consumers in Barbican", () => {
  it("say that Luksmith uses the secret, and go with it", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const id = idOf(await onlySecret(record));
    expect((await ask(`GET /v1/secrets/${id}/consumers`)).json.consumers).toEqual([
      expect.objectContaining({ ...ours, resource_id: record.uuid }),
    ]);
    await keystore.delete(keyUuidOf(record));
    const rows = await database(
      `SELECT count(*) FROM secret_consumer_metadata WHERE secret_id = '${id}' AND NOT deleted`,
    );
    expect(rows).toBe("0");
  });

  it("of somebody else keep the key, and are told", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const id = idOf(await onlySecret(record));
    const server = { service: "nova", resource_type: "server", resource_id: "0b1c" };
    expect((await ask(`POST /v1/secrets/${id}/consumers`, server)).status).toBe(200);
    await expect(keystore.delete(keyUuidOf(record))).rejects.toMatchObject({
      code: "KEY_IN_USE",
      why: expect.stringContaining("nova server 0b1c") as string,
    });
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    expect((await ask(`GET /v1/secrets/${id}/consumers`)).json.total).toBe(2);
    await ask(`DELETE /v1/secrets/${id}/consumers`, server);
    await keystore.delete(keyUuidOf(record));
    expect(await keystore.list()).toEqual([]);
  });
});

describe("what is not Luksmith's in Barbican", () => {
  it("is neither listed nor changed, whatever it looks like", async () => {
    const foreign = [
      { name: "luksmith web1 vda", secret_type: "passphrase" },
      { name: "other", secret_type: "passphrase", mode: "cbc" },
      { name: "almost", secret_type: "passphrase", mode: "luksmith:" },
      { name: "almost", secret_type: "passphrase", mode: `luksmith:${randomUUID()}x` },
      { name: "almost", secret_type: "passphrase", mode: `LUKSMITH:${randomUUID()}` },
      { name: "key", secret_type: "symmetric", algorithm: "aes", bit_length: 256, mode: "cbc" },
    ];
    for (const secret of foreign) {
      const payload = { payload: "foreign", payload_content_type: "text/plain" };
      const binary = { payload: "Zm9yZWlnbg==", payload_content_type: "application/octet-stream" };
      const encoding = { payload_content_encoding: "base64" };
      const body =
        secret.secret_type === "symmetric"
          ? { ...secret, ...binary, ...encoding }
          : { ...secret, ...payload };
      expect((await ask("POST /v1/secrets", body)).status).toBe(201);
    }
    const before = (await ask("GET /v1/secrets?sort=created")).json;
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    expect(await keystore.list()).toEqual([record]);
    await keystore.update({ ...record, state: "active" });
    await keystore.test();
    await keystore.delete(keyUuidOf(record));
    expect((await ask("GET /v1/secrets?sort=created")).json).toEqual(before);
  });

  it("is another project's", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const elsewhere = barbicanKeystore({ url: server.url, projectId: randomUUID() });
    expect(await elsewhere.fetch(keyUuidOf(record))).toBeUndefined();
    expect(await elsewhere.list()).toEqual([]);
    await elsewhere.delete(keyUuidOf(record));
    await storeText(elsewhere, record, "another passphrase");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("is gone when it has expired", async () => {
    const record = sampleRecord();
    const expiration = new Date(Date.now() + 1500).toISOString();
    await imitate(record, "short-lived", { expiration });
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("short-lived"));
    await expect.poll(() => passphraseIn(keystore, record), { timeout: 5000 }).toBeUndefined();
    expect(await keystore.list()).toEqual([]);
    await storeText(keystore, record, "new");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("new"));
  });
});

describe("damage in Barbican", () => {
  it.each([
    ["no record", () => ({})],
    ["a missing piece", (metadata: Metadata) => ({ ...metadata, "luksmith-000": undefined })],
    ["half a record", (metadata: Metadata) => ({ "luksmith-000": metadata["luksmith-000"] })],
    ["a record that is none", () => ({ "luksmith-000": '{"version":1}' })],
    [
      "another key's record",
      (metadata: Metadata) =>
        mapValues(metadata, (piece) =>
          piece.replace(/"uuid":"[0-9a-f]/, (start) => `${start.slice(0, -1)}z`),
        ),
    ],
  ])("is not guessed around: %s", async (_, change) => {
    const [record, sound] = [sampleRecord(), sampleRecord()];
    await storeText(keystore, record, "passphrase");
    await storeText(keystore, sound, "sound");
    const path = `/v1/secrets/${idOf(await onlySecret(record))}/metadata`;
    const { metadata } = (await ask(`GET ${path}`)).json;
    expect((await ask(`PUT ${path}`, { metadata: change(metadata) })).status).toBe(201);
    const damage = { code: "KEY_CORRUPT", message: expect.stringContaining(record.uuid) as string };
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(damage);
    await expect(keystore.update({ ...record, state: "active" })).rejects.toMatchObject(damage);
    await expect(keystore.list()).rejects.toMatchObject(damage);
    expect(await passphraseIn(keystore, sound)).toEqual(Buffer.from("sound"));
    await keystore.delete(keyUuidOf(record));
    expect(await keystore.list()).toEqual([sound]);
  });

  it("is two secrets that are one key", async () => {
    const record = sampleRecord();
    await storeText(keystore, record, "the right one");
    await imitate(record, "the wrong one");
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({ code: "KEY_CORRUPT" });
    await expect(keystore.update(record)).rejects.toMatchObject({ code: "KEY_CORRUPT" });
    await expect(storeText(keystore, record, "a third one")).rejects.toMatchObject({ code: "KEY_EXISTS" });
  });
});

describe("secrets without payload", () => {
  it("are nobody's key, and are cleared away by whoever stores the key, or tests the keystore later", async () => {
    const [record, old] = [sampleRecord(), sampleRecord()];
    for (const { uuid } of [record, old]) {
      const body = { name: "begun", secret_type: "passphrase", mode: `luksmith:${uuid}` };
      expect((await ask("POST /v1/secrets", body)).status).toBe(201);
    }
    expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
    expect(await keystore.list()).toEqual([]);
    await expect(keystore.update(record)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    await storeText(keystore, record, "passphrase");
    await keystore.test();
    expect((await ask("GET /v1/secrets")).json.total).toBe(2);
    await database(
      `UPDATE secrets SET created_at = '2020-01-01 00:00:00.000000' WHERE mode LIKE '%${old.uuid}'`,
    );
    await keystore.test();
    expect((await ask("GET /v1/secrets")).json.total).toBe(1);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });
});

describe("many keys in Barbican", () => {
  it("do not hide one behind secrets that have the same mode", async () => {
    const record = sampleRecord();
    const body = { name: "begun", secret_type: "passphrase", mode: `luksmith:${record.uuid}` };
    for (let count = 0; count < 101; count++) await ask("POST /v1/secrets", body);
    await imitate(record, "passphrase");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    await expect(storeText(keystore, record, "another")).rejects.toMatchObject({ code: "KEY_EXISTS" });
    await keystore.delete(keyUuidOf(record));
    expect((await ask("GET /v1/secrets")).json.total).toBe(0);
  });

  it("are listed whole, page by page, among others", async () => {
    const records = Array.from({ length: 130 }, () => sampleRecord());
    const [first, ...others] = records;
    await storeText(keystore, first!, "passphrase");
    const id = idOf(await onlySecret(first!));
    // as a store leaves them, without the time that it takes
    await multiply(id, first!.uuid, others);
    for (let count = 0; count < 5; count++) {
      await ask("POST /v1/secrets", {
        secret_type: "passphrase",
        payload: "x",
        payload_content_type: "text/plain",
      });
    }
    const found = await keystore.list();
    expect(found.map(({ uuid }) => uuid).sort()).toEqual(records.map(({ uuid }) => uuid).sort());
    expect(await passphraseIn(keystore, others.at(-1)!)).toEqual(Buffer.from("passphrase"));
  });
});

type Metadata = Readonly<Record<string, string>>;

function mapValues(metadata: Metadata, change: (value: string) => string): Metadata {
  return Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, change(value)]));
}

async function onlySecret({
  uuid,
}: KeyRecord): Promise<{ readonly name: string; readonly secret_ref: string }> {
  const { secrets } = (await ask(`GET /v1/secrets?mode=luksmith:${uuid}`)).json;
  expect(secrets).toHaveLength(1);
  return secrets[0]!;
}

function idOf({ secret_ref: ref }: Pick<SecretJson, "secret_ref">): string {
  return ref.slice(ref.lastIndexOf("/") + 1);
}

/** A key as somebody would make it who knows how Luksmith does. */
async function imitate(record: KeyRecord, payload: string, more: object = {}): Promise<void> {
  const body = { name: "imitation", secret_type: "passphrase", mode: `luksmith:${record.uuid}`, ...more };
  const id = idOf((await ask("POST /v1/secrets", body)).json);
  const pieces = JSON.stringify(record).match(/.{1,200}/g)!;
  const metadata = Object.fromEntries(
    pieces.map((piece, index) => [`luksmith-${String(index).padStart(3, "0")}`, piece]),
  );
  expect((await ask(`PUT /v1/secrets/${id}/metadata`, { metadata })).status).toBe(201);
  expect((await ask(`PUT /v1/secrets/${id}`, payload, TEXT)).status).toBe(204);
}

/** Copies of the secret `id` of the key `original` in Barbican's database, one for each record. */
async function multiply(id: string, original: string, records: readonly KeyRecord[]): Promise<void> {
  const copy = (table: string, where: string, change: string) => `
    CREATE TEMP TABLE copy AS SELECT * FROM ${table} WHERE ${where} = '${id}';
    UPDATE copy SET ${change};
    INSERT INTO ${table} SELECT * FROM copy;
    DROP TABLE copy;`;
  const statements = records.map(({ uuid }) => {
    const copied = randomUUID();
    const part = `id = lower(hex(randomblob(16))), secret_id = '${copied}'`;
    return [
      copy("secrets", "id", `id = '${copied}', mode = 'luksmith:${uuid}'`),
      copy("encrypted_data", "secret_id", part),
      copy("secret_store_metadata", "secret_id", part),
      copy("secret_user_metadata", "secret_id", `${part}, value = replace(value, '${original}', '${uuid}')`),
    ];
  });
  await database(`BEGIN; ${statements.flat().join("")} COMMIT;`);
}

function database(sql: string): Promise<string> {
  return inDatabase(server, sql);
}
