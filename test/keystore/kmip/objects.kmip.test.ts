import { execa } from "execa";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { KeyObjects } from "../../../src/keystore/kmip/key-objects.js";
import { KmipClient } from "../../../src/keystore/kmip/kmip-client.js";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import { locate, revoke } from "../../../src/keystore/kmip/operations.js";
import { STATE } from "../../../src/keystore/kmip/tags.js";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { Secret } from "../../../src/secret/secret.js";
import { bundle } from "../../fs/strace.js";
import { startFaultyLine } from "../../lab/faulty-line.js";
import { passphraseIn, replaceText, sampleRecord, storeText } from "../sample-key.js";
import { kmipWorld } from "./kmip.fixture.js";

const world = kmipWorld();
type Settings = ReturnType<typeof world.settings>;

/** The server's objects behind a keystore of these settings. */
function objectsOf(settings: Settings) {
  const client = new KmipClient(settings);
  const budget = () => new Budget(20_000);
  const objects = () => new KeyObjects(client, settings.group, settings.object, budget());
  const ids = () => client.ask(locate({ name: "Object Group", value: settings.group }), budget());
  return { client, budget, objects, ids };
}

/** How many messages the server has got: it notes each. */
function messages(): number {
  const log = readFileSync(join(world.server.directory, "server.log"), "utf8");
  return log.split("Received request at time").length - 1;
}

async function messagesOf(work: () => Promise<unknown>): Promise<number> {
  const before = messages();
  await work();
  return messages() - before;
}

describe("KMIP: the objects that are keys", () => {
  it.each(["1.4", "2.0"] as const)(
    "are active, and one each, and tell whose they are: %s",
    async (version) => {
      const settings = world.settings({ version });
      const record = sampleRecord();
      await storeText(new KmipKeystore(settings), record, "passphrase");
      const found = await objectsOf(settings).objects().of(keyUuidOf(record));
      const { group } = settings;
      expect(found.map(({ attributes }) => attributes)).toMatchObject([
        { state: STATE.Active, names: [`${group}/${record.uuid}`], groups: [group] },
      ]);
    },
  );

  it("are no keys before they are activated: nobody gets what was left half stored, and it is cleared away", async () => {
    const settings = world.settings({ timeout: 4 });
    const { objects, ids } = objectsOf(settings);
    const keystore = new KmipKeystore(settings);
    const record = sampleRecord();
    const uuid = keyUuidOf(record);
    using left = Secret.own(Buffer.from("left by a writer that was killed"));
    const abandoned = await objects().register({ record, passphrase: left }, uuid, "another writer");
    expect(await keystore.fetch(uuid)).toBeUndefined();
    expect(await keystore.list()).toEqual([]);
    await expect(keystore.update(record)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    await storeText(keystore, record, "stored");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("stored"));
    expect(await ids()).not.toContain(abandoned);
    expect(await ids()).toHaveLength(1);
  });

  it.each<[string, (keystore: KmipKeystore, record: ReturnType<typeof sampleRecord>) => Promise<void>]>([
    ["an update", (keystore, record) => keystore.update({ ...record, disk: "vdz" })],
    ["the same replacement", (keystore, record) => replaceText(keystore, record, "new")],
    [
      "the next replacement",
      (keystore, record) => replaceText(keystore, { ...record, generation: 3 }, "new"),
    ],
    ["its deletion", (keystore, record) => keystore.delete(keyUuidOf(record))],
  ])("are two of a key whose passphrase somebody was killed replacing, until %s", async (what, goOn) => {
    const settings = world.settings();
    const { objects } = objectsOf(settings);
    const keystore = new KmipKeystore(settings);
    const former = sampleRecord();
    const [record, uuid] = [{ ...former, generation: 2 }, keyUuidOf(former)];
    await storeText(keystore, former, "former");
    using passphrase = Secret.own(Buffer.from("new"));
    await objects().activate(await objects().register({ record, passphrase }, uuid, "who was killed"));
    expect(await objects().of(uuid)).toHaveLength(2);
    expect(String(await passphraseIn(keystore, former))).toBe("new");
    expect(await keystore.list()).toEqual([record]);
    await goOn(keystore, record);
    expect(await objects().of(uuid)).toHaveLength(what === "its deletion" ? 0 : 1);
    if (what !== "its deletion") expect(String(await passphraseIn(keystore, former))).toBe("new");
  });

  it("are one when a passphrase was replaced", async () => {
    const settings = world.settings();
    const keystore = new KmipKeystore(settings);
    const record = sampleRecord();
    await storeText(keystore, record, "former");
    await replaceText(keystore, { ...record, generation: 2 }, "new");
    expect(await objectsOf(settings).objects().of(keyUuidOf(record))).toHaveLength(1);
  });

  it("are no keys after they were revoked, and can still be deleted", async () => {
    const settings = world.settings();
    const { client, budget, ids } = objectsOf(settings);
    const keystore = new KmipKeystore(settings);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const [id = ""] = await ids();
    await client.ask(revoke(id), budget());
    const revoked = { code: "KEYSTORE_FORBIDDEN", why: expect.stringContaining("revoked") as string };
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(revoked);
    await expect(keystore.update(record)).rejects.toMatchObject(revoked);
    await expect(storeText(keystore, record, "another")).rejects.toMatchObject({ code: "KEY_EXISTS" });
    await keystore.delete(keyUuidOf(record));
    expect(await ids()).toEqual([]);
  });

  it("are not chosen from where several have a name", async () => {
    const settings = world.settings();
    const { objects } = objectsOf(settings);
    const keystore = new KmipKeystore(settings);
    const record = sampleRecord();
    await storeText(keystore, record, "one");
    using passphrase = Secret.own(Buffer.from("another"));
    const id = await objects().register({ record, passphrase }, keyUuidOf(record), "somebody");
    await objects().activate(id);
    await objects().activate(id);
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({ code: "KEY_CORRUPT" });
    // deleting leaves none of them
    await keystore.delete(keyUuidOf(record));
    expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
  });

  it("are not discarded once they are active", async () => {
    const settings = world.settings();
    const { objects, ids } = objectsOf(settings);
    const record = sampleRecord();
    await storeText(new KmipKeystore(settings), record, "stays");
    const [id = ""] = await ids();
    await objects().discard(id, keyUuidOf(record));
    expect(await passphraseIn(new KmipKeystore(settings), record)).toEqual(Buffer.from("stays"));
  });

  it("leave nothing behind when answers are lost while they are stored", async () => {
    const settings = world.settings();
    const { ids } = objectsOf(settings);
    const clean = new KmipKeystore(settings);
    const outcomes = new Set<string>();
    // the handshake is two answers and the version is one: nothing is stored before
    for (let answers = 4; answers <= 8; answers++) {
      await using line = await startFaultyLine(world.server);
      const keystore = new KmipKeystore({ ...settings, port: line.port });
      const record = sampleRecord();
      let heard = 0;
      line.weather = {
        kind: "corrupt",
        // this answer arrives as nonsense, so that the connection is of no use
        change: (answer) => (++heard === answers ? Buffer.alloc(answer.length) : answer),
      };
      const outcome = await storeText(keystore, record, `of ${record.uuid}`).then(
        () => "stored",
        (thrown: unknown) => (thrown as { code: string }).code,
      );
      outcomes.add(outcome);
      expect(heard).toBeGreaterThan(answers);
      line.weather = { kind: "fine" };
      const kept = await passphraseIn(clean, record);
      if (outcome === "stored") expect(kept).toEqual(Buffer.from(`of ${record.uuid}`));
      await clean.delete(keyUuidOf(record));
      expect(await ids()).toEqual([]);
    }
    expect([...outcomes]).toEqual(["stored"]);
  });
});

describe("KMIP: whose keys they are", () => {
  it("are nobody else's: who does not own a key does not see that it is there", async () => {
    const settings = world.settings();
    const mine = new KmipKeystore(settings);
    const theirs = new KmipKeystore({
      ...settings,
      tls: { caFile: world.server.authority.caFile, ...world.neighbour },
    });
    const record = sampleRecord();
    await storeText(mine, record, "mine");
    // PyKMIP's default policy; docs/keystores/kmip.md says what follows
    expect(await theirs.fetch(keyUuidOf(record))).toBeUndefined();
    await storeText(theirs, record, "theirs");
    await theirs.delete(keyUuidOf(record));
    expect(await passphraseIn(mine, record)).toEqual(Buffer.from("mine"));
    expect(await mine.list()).toEqual([record]);
  });

  it("belong to a group: another group of the same client has others", async () => {
    const [one, other] = [new KmipKeystore(world.settings()), new KmipKeystore(world.settings())];
    const record = sampleRecord();
    await storeText(one, record, "of one");
    expect(await other.fetch(keyUuidOf(record))).toBeUndefined();
    expect(await other.list()).toEqual([]);
  });
});

describe("KMIP: messages and connections", () => {
  it("fetches 16 keys with as many messages as one", async () => {
    const settings = world.settings();
    const keystore = new KmipKeystore(settings);
    const records = Array.from({ length: 16 }, () => sampleRecord());
    await Promise.all(records.map((record) => storeText(keystore, record, `of ${record.uuid}`)));
    const one = await messagesOf(() => passphraseIn(keystore, records[0]!));
    const many = await messagesOf(async () => {
      const fetched = await Promise.all(records.map((record) => passphraseIn(keystore, record)));
      expect(fetched).toEqual(records.map(({ uuid }) => Buffer.from(`of ${uuid}`)));
    });
    expect([one, many]).toEqual([2, 2]);
    expect(await messagesOf(() => keystore.list())).toBe(2);
  });

  it("sends as many messages as its page says", async () => {
    const keystore = new KmipKeystore(world.settings());
    const record = sampleRecord();
    // the first has the version
    await keystore.list();
    expect(await messagesOf(() => storeText(keystore, record, "passphrase"))).toBe(5);
    expect(await messagesOf(() => keystore.update({ ...record, state: "active" }))).toBe(3);
    expect(await messagesOf(() => keystore.delete(keyUuidOf(record)))).toBe(3);
  });

  it("goes on after the server has closed a connection that was idle", async () => {
    await using line = await startFaultyLine(world.server);
    const keystore = new KmipKeystore(world.settings({ port: line.port }));
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    expect(line.connections).toBe(1);
    await world.server.restart();
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    expect(line.connections).toBe(2);
  });

  it("does not keep a process from ending", async () => {
    const driver = await bundle(new URL("driver.ts", import.meta.url).pathname, world.server.directory);
    const argv = [driver, "store", JSON.stringify(world.settings()), sampleRecord().uuid];
    const start = performance.now();
    const { stdout } = await execa(process.execPath, argv, { env: {}, extendEnv: false, timeout: 20_000 });
    expect(stdout).toBe("done");
    // a kept connection is closed after 15 seconds
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
