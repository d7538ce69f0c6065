import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { optional } from "../../../src/keystore/kmip/fields.js";
import { KeyObjects } from "../../../src/keystore/kmip/key-objects.js";
import { KmipClient } from "../../../src/keystore/kmip/kmip-client.js";
import { REASON, STATE, TAG } from "../../../src/keystore/kmip/tags.js";
import type { Item } from "../../../src/keystore/kmip/ttlv.js";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { attribute, attributes, fakeKmipWorld, ids, object } from "./fake-kmip.fixture.js";
import { type Answer, VERSION_1_4 } from "./fake-kmip-server.js";

const world = fakeKmipWorld();
const { keystore, answering } = world;

const record = sampleRecord();
const uuid = keyUuidOf(record);
const MISSING = { reason: REASON.ItemNotFound };
const CHANGES = ["Register", "Activate", "Modify Attribute", "Revoke", "Destroy"];

/** Which changes the server was asked for. */
function changes(): string[] {
  return world.fake.messages.flatMap((asked) =>
    asked.map(({ operation }) => operation).filter((operation) => CHANGES.includes(operation)),
  );
}

/** Answers about objects by their ids, and lists them all whatever it is asked for. */
function holding(objects: Readonly<Record<string, Item[]>>): void {
  world.fake.answer = ({ operation, payload }): Answer => {
    const id = optional(payload, TAG.UniqueIdentifier, "text") ?? "";
    if (operation === "Discover Versions") return VERSION_1_4;
    if (operation === "Locate") return ids(...Object.keys(objects));
    if (operation === "Get Attributes") return objects[id] ?? MISSING;
    if (operation === "Get") return object(id, Buffer.from(`of ${id}`));
    return operation === "Register" ? ids("99") : [];
  };
}

const named = (name: string, ...others: Item[]) => [attribute("Name", name), ...others];

describe("KMIP: what a server lists and denies", () => {
  it("is not taken for what is not there, and nothing is changed", async () => {
    answering({ Locate: ids("7"), "Get Attributes": MISSING, Get: MISSING, Register: ids("8") });
    const denied = { code: "KEYSTORE_FORBIDDEN", why: expect.stringContaining("denies") as string };
    await expect(keystore().fetch(uuid)).rejects.toMatchObject(denied);
    await expect(keystore().list()).rejects.toMatchObject(denied);
    await expect(keystore().delete(uuid)).rejects.toMatchObject(denied);
    await expect(keystore().update(record)).rejects.toMatchObject(denied);
    await expect(storeText(keystore(), record, "a second one")).rejects.toMatchObject(denied);
    expect(changes()).toEqual([]);
  });

  it("is gone if it is not listed again: somebody has deleted it meanwhile", async () => {
    let listed = ids("7");
    world.fake.answer = ({ operation }) => {
      if (operation === "Discover Versions") return VERSION_1_4;
      if (operation === "Locate") return listed;
      listed = [];
      return MISSING;
    };
    expect(await keystore().fetch(uuid)).toBeUndefined();
    listed = ids("7");
    expect(await keystore().list()).toEqual([]);
    listed = ids("7");
    await keystore().delete(uuid);
  });

  it("is given out a moment later, by a node that lags", async () => {
    holding({ 7: attributes(record) });
    const later = world.fake.answer;
    let questions = 0;
    world.fake.answer = (asked) =>
      asked.operation === "Get Attributes" && ++questions < 3 ? MISSING : later(asked);
    expect(await passphraseIn(keystore(), record)).toEqual(Buffer.from("of 7"));
  });

  it("is not deleted because Destroy does not find it", async () => {
    answering({ Locate: ids("7"), "Get Attributes": attributes(record), Revoke: MISSING, Destroy: MISSING });
    await expect(keystore().delete(uuid)).rejects.toMatchObject({ code: "KEYSTORE_FORBIDDEN" });
  });
});

describe("KMIP: objects of others that a server lists", () => {
  const theirs = named(`luksmith-2/${uuid}`, ...attributes(record));

  it("are no keys of ours if they have another name", async () => {
    holding({ 7: theirs });
    expect(await keystore().fetch(uuid)).toBeUndefined();
    await expect(keystore().update(record)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    await storeText(keystore(), record, "ours");
    expect(changes()).toEqual(["Register", "Activate"]);
  });

  it("do not stand in the way of ours", async () => {
    holding({ 7: theirs, 8: named(`luksmith/${uuid}`, ...attributes(record)) });
    expect(await passphraseIn(keystore(), record)).toEqual(Buffer.from("of 8"));
  });

  it("are not listed if they are in another group", async () => {
    holding({
      7: [attribute("Object Group", "luksmith-2"), ...attributes()],
      8: [attribute("Object Group", "luksmith"), ...attributes(record)],
    });
    expect(await keystore().list()).toEqual([record]);
  });

  it.each([
    ["another name", theirs],
    ["another name, and are not active", named("luksmith", ...attributes(record, STATE.PreActive))],
  ])("are not destroyed if they have %s", async (_, other) => {
    holding({ 7: other });
    await keystore().delete(uuid);
    await storeText(keystore({ timeout: 2 }), record, "ours");
    expect(changes()).not.toContain("Destroy");
  });

  it.each([
    ["of another key", attributes(sampleRecord(), STATE.PreActive)],
    ["of nobody", attributes(record, STATE.PreActive).slice(0, 2)],
  ])("are not destroyed if they have our name and a record %s", async (_, other) => {
    holding({ 7: named(`luksmith/${uuid}`, ...other) });
    await expect(keystore().delete(uuid)).rejects.toMatchObject({ code: "KEY_CORRUPT" });
    await expect(storeText(keystore({ timeout: 2 }), record, "x")).rejects.toMatchObject({
      code: "KEY_CORRUPT",
    });
    expect(changes()).toEqual([]);
  });

  it("are not destroyed when one of several is ours", async () => {
    holding({ 7: attributes(record), 8: attributes() });
    await expect(keystore().delete(uuid)).rejects.toMatchObject({ code: "KEY_CORRUPT" });
    expect(changes()).toEqual([]);
  });
});

describe("KMIP: what is cleared away", () => {
  it("is not what is active, though the server would destroy it", async () => {
    holding({ 7: named(`luksmith/${uuid}`, ...attributes(record, STATE.Active)) });
    const settings = world.settings();
    const objects = new KeyObjects(
      new KmipClient(settings),
      settings.group,
      settings.object,
      new Budget(5000),
    );
    await objects.discard("7", uuid);
    expect(changes()).toEqual([]);
  });
});
