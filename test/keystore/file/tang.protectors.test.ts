import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTang, type TangServer } from "../../lab/tang.js";
import { treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { outcomeOf, protectedKeystore, tang } from "./protectors.fixture.js";

let servers: [TangServer, TangServer];
beforeAll(async () => {
  servers = await Promise.all([startTang(), startTang()]);
});
afterAll(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));

async function prepare(bound: readonly TangServer[] = servers.slice(0, 1), threshold = 1) {
  const made = protectedKeystore(tang(bound, threshold));
  const record = sampleRecord();
  await storeText(made.keystore, record, "passphrase");
  const fetch = () => outcomeOf(passphraseIn(made.another(), record));
  return { ...made, record, fetch };
}

const unavailable = {
  code: "PROTECTOR_UNAVAILABLE",
  hint: expect.stringContaining("recovery restore") as string,
};

describe("master key bound to Tang", () => {
  it("opens while the server answers, and not while it is down; then again", async () => {
    const { fetch, directory } = await prepare();
    expect(await fetch()).toBe("passphrase");
    const before = treeOf(directory);
    await servers[0].stop();
    const began = Date.now();
    expect(await fetch()).toMatchObject({
      ...unavailable,
      why: expect.stringContaining(servers[0].url) as string,
    });
    expect(Date.now() - began).toBeLessThan(3_000);
    expect(treeOf(directory)).toEqual(before);
    await servers[0].start();
    expect(await fetch()).toBe("passphrase");
  });

  it("gives up within seconds when the server takes connections and does not answer", async () => {
    const { fetch } = await prepare();
    servers[0].freeze();
    const began = Date.now();
    expect(await fetch()).toMatchObject(unavailable);
    expect(Date.now() - began).toBeLessThan(8_000);
    servers[0].thaw();
    expect(await fetch()).toBe("passphrase");
  });

  it("waits for no server that it does not need", async () => {
    const { fetch } = await prepare(servers, 1);
    servers[1].freeze();
    const began = Date.now();
    expect(await fetch()).toBe("passphrase");
    expect(Date.now() - began).toBeLessThan(3_000);
    servers[1].thaw();
  });

  it("needs as many servers as the threshold says", async () => {
    const { fetch } = await prepare(servers, 2);
    expect(await fetch()).toBe("passphrase");
    await servers[1].stop();
    expect(await fetch()).toMatchObject(unavailable);
    await servers[1].start();
    expect(await fetch()).toBe("passphrase");
  });

  it("is not bound where the threshold asks for more servers than there are", async () => {
    const { keystore } = protectedKeystore(tang(servers, 3));
    expect(await outcomeOf(storeText(keystore, sampleRecord(), "x"))).toMatchObject({
      code: "SETTINGS_INVALID",
    });
  });

  it("is bound to no server with another thumbprint, also when that server has an honest one besides", async () => {
    const [{ url }, { thumbprint }] = servers;
    const { keystore, directory } = protectedKeystore({
      type: "tang",
      servers: [{ url, thumbprint }],
      threshold: 1,
    });
    const record = sampleRecord();
    expect(await outcomeOf(storeText(keystore, record, "x"))).toMatchObject({
      code: "PROTECTOR_UNAVAILABLE",
      hint: expect.stringContaining("tang-show-keys") as string,
    });
    expect(Object.keys(treeOf(directory))).toEqual(["records"]);
  });

  it("opens after a rotation of the server's keys, and not once the old ones are lost", async () => {
    await using own = await startTang();
    const { fetch } = await prepare([own]);
    own.rotate();
    expect(await fetch()).toBe("passphrase");
    own.replaceKeys();
    expect(await fetch()).toMatchObject({
      ...unavailable,
      why: expect.stringContaining("no longer the key") as string,
    });
  });

  it("is refused, and never wrong, with a changed JWE", async () => {
    const { fetch, masterKeyPath } = await prepare();
    const text = readFileSync(masterKeyPath, "utf8");
    const { jwe } = JSON.parse(text) as { jwe: string };
    const [header = "", , iv = "", ciphertext = "", tag = ""] = jwe.split(".");
    const flipped = (part: string, at: number) =>
      `${part.slice(0, at)}${part[at] === "A" ? "B" : "A"}${part.slice(at + 1)}`;
    const changes = [
      ...[0, 40, 300, header.length - 40].map((at) => [flipped(header, at), "", iv, ciphertext, tag]),
      ...[0, 5].map((at) => [header, "", flipped(iv, at), ciphertext, tag]),
      ...[0, 20].map((at) => [header, "", iv, flipped(ciphertext, at), tag]),
      ...[0, 10].map((at) => [header, "", iv, ciphertext, flipped(tag, at)]),
    ];
    for (const parts of changes) {
      writeFileSync(masterKeyPath, text.replace(jwe, parts.join(".")));
      expect(await fetch()).toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    }
    writeFileSync(masterKeyPath, text);
    expect(await fetch()).toBe("passphrase");
  });

  it("is not another key that somebody else has bound to the same server", async () => {
    const { fetch, masterKeyPath } = await prepare();
    const foreign = await prepare();
    const [own, other] = [masterKeyPath, foreign.masterKeyPath].map(
      (path) => JSON.parse(readFileSync(path, "utf8")) as { jwe: string },
    );
    writeFileSync(masterKeyPath, JSON.stringify({ ...own, jwe: other!.jwe }));
    expect(await fetch()).toMatchObject({
      code: "MASTER_KEY_UNUSABLE",
      why: expect.stringContaining("not the key that the file names") as string,
    });
  });
});
