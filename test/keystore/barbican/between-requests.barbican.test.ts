import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { type Ask, askingAs, barbicanKeystore, inDatabase } from "./barbican-fixture.js";
import { goBetween, type Interference } from "./go-between.js";

let server: BarbicanServer;
beforeAll(async () => {
  server = await startBarbican();
});
afterAll(() => server.stop());

let projectId: string;
let ask: Ask;
beforeEach(() => {
  projectId = randomUUID();
  ask = askingAs(server, projectId);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const PAYLOAD = /^PUT \/v1\/secrets\/[-0-9a-f]+$/;
const METADATA = /^GET .*\/metadata$/;
const SECRET = /^GET \/v1\/secrets\/[-0-9a-f]+$/;

async function through(interference: Interference, timeout = 30) {
  const { url, asked } = await goBetween(server, interference);
  return { keystore: barbicanKeystore({ url, projectId, timeout }), asked };
}

/** A secret without payload. @returns its path */
async function begun({ uuid }: KeyRecord, age: "new" | "old"): Promise<string> {
  const body = { name: "begun", secret_type: "passphrase", mode: `luksmith:${uuid}` };
  const path = new URL((await ask("POST /v1/secrets", body)).json.secret_ref, server.url).pathname;
  const time = "created_at = '2020-01-01 00:00:00.000000'";
  if (age === "old") await inDatabase(server, `UPDATE secrets SET ${time} WHERE mode LIKE '%${uuid}'`);
  return path;
}

function pathIn(request: string): string {
  return request.slice(request.indexOf("/"));
}

describe("Barbican keystore: removing what nobody finishes", () => {
  it("does not believe this host's clock", async () => {
    const path = await begun(sampleRecord(), "new");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 7_200_000 });
    await barbicanKeystore({ url: server.url, projectId }).test();
    expect((await ask(`GET ${path}`)).status).toBe(200);
  });

  it("spares a secret whose payload has come since it was listed", async () => {
    const record = sampleRecord();
    const path = await begun(record, "old");
    const finish = () => ask(`PUT ${path}`, "passphrase", { "content-type": "text/plain" });
    const metadata = { "luksmith-000": JSON.stringify(record).slice(0, 250) };
    metadata["luksmith-001" as "luksmith-000"] = JSON.stringify(record).slice(250);
    await ask(`PUT ${path}/metadata`, { metadata });
    const { keystore } = await through({
      after: (request) => (request.startsWith("GET /v1/secrets?secret_type") ? finish() : undefined),
    });
    await keystore.test();
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("does not remove what it cannot remove in time", async () => {
    const path = await begun(sampleRecord(), "old");
    const { keystore, asked } = await through({
      after: (request) => (request === `GET ${path}` ? setTimeout(1700) : undefined),
    });
    await keystore.test();
    expect(asked.map(({ request }) => request)).toContain(`GET ${path}`);
    expect((await ask(`GET ${path}`)).status).toBe(200);
    await barbicanKeystore({ url: server.url, projectId }).test();
    expect((await ask(`GET ${path}`)).status).toBe(404);
  });
});

describe("Barbican keystore: a key that is stored", () => {
  const slow = (milliseconds: number): Interference => ({
    after: (request) => (PAYLOAD.test(request) ? setTimeout(milliseconds) : undefined),
  });

  it("is there when it is said to be, also where the writer was quick", async () => {
    const record = sampleRecord();
    const { keystore } = await through({
      after: (request) => (PAYLOAD.test(request) ? ask(`DELETE ${pathIn(request)}`) : undefined),
    });
    await expect(storeText(keystore, record, "lost")).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
    });
    expect((await ask("GET /v1/secrets")).json.total).toBe(0);
  });

  it("is looked at after all who could remove it have, where the writer was slow", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { keystore, asked } = await through(slow(4600));
    await storeText(keystore, sampleRecord(), "slow");
    const written = asked.find(({ request }) => PAYLOAD.test(request));
    const looked = asked.find(({ request }) => SECRET.test(request));
    expect(looked!.at - written!.at).toBeGreaterThan(4600 + 2990);
  });

  it("is not said to be stored where there is no time for that", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const { keystore } = await through(slow(4600), 7);
    await expect(storeText(keystore, sampleRecord(), "slow")).rejects.toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
      message: expect.stringContaining("not certain") as string,
    });
  });
});

describe("Barbican keystore: a secret that is listed", () => {
  it("is a damaged key if its metadata is never there, to whoever asks", async () => {
    const record = sampleRecord();
    const { keystore } = await through({
      status: (request) => (METADATA.test(request) ? 404 : undefined),
    });
    await storeText(keystore, record, "passphrase");
    const damage = { code: "KEY_CORRUPT", message: expect.stringContaining(record.uuid) as string };
    await expect(keystore.list()).rejects.toMatchObject(damage);
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(damage);
    await expect(keystore.update(record)).rejects.toMatchObject(damage);
  });

  it("is a sound key if its metadata is there a moment later", async () => {
    const record = sampleRecord();
    let count = 0;
    const { keystore } = await through({
      status: (request) => (METADATA.test(request) && count++ === 0 ? 404 : undefined),
    });
    await storeText(keystore, record, "passphrase");
    expect(await keystore.list()).toEqual([record]);
  });

  it("is no key if it is deleted meanwhile", async () => {
    const [record, other] = [sampleRecord(), sampleRecord()];
    const direct = barbicanKeystore({ url: server.url, projectId });
    let isFirst = true;
    const { keystore } = await through({
      before: (request) => {
        if (!METADATA.test(request) || !isFirst) return undefined;
        isFirst = false;
        return direct.delete(keyUuidOf(record));
      },
    });
    await storeText(keystore, record, "passphrase");
    expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
    isFirst = true;
    await storeText(keystore, record, "passphrase");
    expect(await keystore.list()).toEqual([]);
    await storeText(keystore, other, "other");
    expect(await keystore.list()).toEqual([other]);
  });
});
