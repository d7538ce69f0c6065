import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { setTimeout } from "node:timers/promises";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { createKeyring } from "../../src/keystore/index.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { canDelete } from "../../src/keystore/keystore.js";
import { Secret } from "../../src/secret/secret.js";
import { parseSettings } from "../../src/settings/load.js";
import { temporaryDirectory } from "../fs/tree.js";
import { sampleRecord } from "./sample-key.js";

const AWAY = "KEYSTORE_UNAVAILABLE";
const TYPES = ["vault", "barbican", "kmip"] as const;
/** Milliseconds: one that answers at once, without a server being asked. */
const AT_ONCE = 700;

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function portOf(server: Server): Promise<number> {
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Takes every connection, and says nothing. */
function silentPort(): Promise<number> {
  return portOf(createServer((socket) => socket.on("error", () => undefined).unref()));
}

/** A keyring of one real keystore of this type, which has so many seconds. */
function keyringFor(type: (typeof TYPES)[number], port: number, timeout = 2) {
  const tokenFile = join(temporaryDirectory(), "token");
  writeFileSync(tokenFile, "s.token", { mode: 0o600 });
  const url = `http://127.0.0.1:${port}`;
  const members = {
    vault: { url, auth: { method: "token", tokenFile } },
    barbican: { url, projectId: "p" },
    kmip: { host: "127.0.0.1", port, tls: {} },
  };
  const settings = { version: 1, keystores: [{ name: "far", type, timeout, ...members[type] }] };
  return createKeyring(parseSettings(JSON.stringify(settings), "the test"), {
    runner: new ExecaCommandRunner(),
  });
}

async function timed<T>(work: Promise<T>): Promise<{ readonly result: T; readonly took: number }> {
  const before = performance.now();
  return { result: await work, took: performance.now() - before };
}

describe.each(TYPES)("a %s keystore that hangs", (type) => {
  it("is waited for once by the same process, whatever it is asked then", async () => {
    const keyring = keyringFor(type, await silentPort());
    // the disks of a guest are asked for at the same time
    const first = await timed(Promise.all(Array.from({ length: 4 }, () => keyring.locate(newKeyUuid()))));
    expect(first.took).toBeGreaterThan(1500);
    expect(first.took).toBeLessThan(4500);
    const record = sampleRecord();
    const keystore = await keyring.get("far");
    if (!canDelete(keystore)) throw new Error("every keystore of this test can delete");
    using passphrase = Secret.randomPassphrase();
    const attempts = [
      () => keystore.fetch(keyUuidOf(record)),
      () => keystore.store({ record, passphrase }),
      () => keystore.change(keyUuidOf(record), (now) => now),
      () => keystore.update(record),
      () => keystore.replace({ record, passphrase }),
      () => keystore.find({ guestId: "a" }),
      () => keystore.delete(keyUuidOf(record)),
    ];
    for (const attempt of attempts) {
      const { result, took } = await timed(attempt().catch((thrown: unknown) => thrown));
      expect(result).toMatchObject({ code: AWAY });
      expect(took).toBeLessThan(AT_ONCE);
    }
    expect(await keyring.locate(newKeyUuid())).toMatchObject({ kind: "unavailable", error: { code: AWAY } });
  });

  it("is still asked what became of a change that nobody answered", async () => {
    const keyring = keyringFor(type, await silentPort());
    const record = sampleRecord();
    const keystore = await keyring.get("far");
    using passphrase = Secret.randomPassphrase();
    const stored = await timed(keystore.store({ record, passphrase }).catch((thrown: unknown) => thrown));
    expect(stored.took).toBeGreaterThan(1500);
    expect((await timed(keyring.locate(keyUuidOf(record)))).took).toBeGreaterThan(1500);
    expect((await timed(keyring.locate(keyUuidOf(record)))).took).toBeLessThan(AT_ONCE);
  });
});

describe.each(["vault", "barbican"] as const)("a %s keystore that does not hang", (type) => {
  it("takes its time to answer that it cannot, and is asked again", async () => {
    let asked = 0;
    const server = createHttpServer((_, response) => {
      asked += 1;
      void setTimeout(500).then(() => response.writeHead(503).end("{}"));
    });
    const keyring = keyringFor(type, await portOf(server), 10);
    const { result, took } = await timed(keyring.locate(newKeyUuid()));
    expect(result).toMatchObject({ error: { code: AWAY } });
    expect(took).toBeGreaterThan(1000);
    const before = asked;
    expect(await keyring.locate(newKeyUuid())).toMatchObject({ error: { code: AWAY } });
    expect(asked).toBeGreaterThan(before);
  });

  it("is one where nothing listens, which costs nothing to ask again", async () => {
    const closed = createServer();
    const port = await portOf(closed);
    closed.close();
    await once(closed, "close");
    const keyring = keyringFor(type, port);
    expect(await keyring.locate(newKeyUuid())).toMatchObject({ error: { code: AWAY } });
    let asked = 0;
    const server = createHttpServer((_, response) => {
      asked += 1;
      response.writeHead(404).end("{}");
    });
    servers.push(server.listen(port, "127.0.0.1"));
    await once(server, "listening");
    await keyring.locate(newKeyUuid());
    expect(asked).toBeGreaterThan(0);
  });
});
