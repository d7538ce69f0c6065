import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { TlsSettings } from "../../../src/generated/keystore-tls.js";
import type { CompleteKeystore } from "../../contract/keystore.contract.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { type Authority, makeAuthority } from "../../lab/certificates.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { barbicanKeystore } from "./barbican-fixture.js";

let directory: string;
let authority: Authority;
let other: Authority;
/** Anybody may connect, with TLS 1.2 at most. */
let open: BarbicanServer;
/** Only who has a certificate, with any TLS; its own is for another name. */
let mutual: BarbicanServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "luksmith-test-"));
  [authority, other] = await Promise.all([makeAuthority(directory), makeAuthority(directory, "other")]);
  [open, mutual] = await Promise.all([
    startBarbican({ tls: { ...(await authority.server("open")), newest: "1.2" } }),
    startBarbican({
      tls: { ...(await authority.server("mutual", "DNS:barbican.example")), clientCaFile: authority.caFile },
    }),
  ]);
});
afterAll(async () => {
  await Promise.all([open.stop(), mutual.stop()]);
  await rm(directory, { recursive: true });
});

let projectId: string;
beforeEach(() => {
  projectId = randomUUID();
});

function over(server: BarbicanServer, tls: TlsSettings): CompleteKeystore {
  return barbicanKeystore({ url: server.tls!.url, projectId, tls });
}

async function works(keystore: CompleteKeystore): Promise<void> {
  const record = sampleRecord();
  await storeText(keystore, record, "passphrase");
  expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
}

function refused(hint: RegExp): object {
  return { code: "KEYSTORE_TLS_FAILED", hint: expect.stringMatching(hint) as string };
}

describe("Barbican over TLS", () => {
  it("is trusted by the authority in the settings, and tells so", async () => {
    const keystore = over(open, { caFile: authority.caFile });
    await works(keystore);
    const passed: string[] = [];
    await keystore.test((check) => passed.push(check));
    expect(passed).toEqual(["reached", "TLS", "authenticated", "round trip"]);
  });

  it("is not trusted by another authority, nor by those of the system", async () => {
    await expect(over(open, { caFile: other.caFile }).list()).rejects.toMatchObject(refused(/tls\.caFile/));
    await expect(over(open, {}).list()).rejects.toMatchObject(refused(/tls\.caFile/));
  });

  it("is not trusted under a name that it does not have, but under that which it has", async () => {
    const client = await authority.client("named", "luksmith");
    const tls = { caFile: authority.caFile, ...client };
    await expect(over(mutual, tls).list()).rejects.toMatchObject(refused(/tls\.serverName/));
    await works(over(mutual, { ...tls, serverName: "barbican.example" }));
  });

  it("is refused where its TLS is older than the settings permit", async () => {
    const tls = { caFile: authority.caFile };
    await works(over(open, { ...tls, minVersion: "1.2" }));
    await expect(over(open, { ...tls, minVersion: "1.3" }).list()).rejects.toMatchObject(
      refused(/minVersion/),
    );
  });

  it("wants a client certificate of its authority", async () => {
    const tls = { caFile: authority.caFile, serverName: "barbican.example" };
    const missing = { code: expect.stringMatching(/^KEYSTORE_TLS_FAILED$/) as string };
    await expect(over(mutual, tls).list()).rejects.toMatchObject(missing);
    const stranger = await other.client("stranger", "luksmith");
    await expect(over(mutual, { ...tls, ...stranger }).list()).rejects.toMatchObject(missing);
    await works(over(mutual, { ...tls, ...(await authority.client("client", "luksmith")) }));
  });
});
