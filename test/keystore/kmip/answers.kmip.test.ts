import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { bytes, enumeration, integer, structure } from "../../../src/keystore/kmip/fields.js";
import { OPERATION, REASON, STATE, TAG } from "../../../src/keystore/kmip/tags.js";
import type { Item } from "../../../src/keystore/kmip/ttlv.js";
import { versionItem } from "../../../src/keystore/kmip/versions.js";
import { sampleRecord, storeText } from "../sample-key.js";
import { attributes, fakeKmipWorld, ids, object } from "./fake-kmip.fixture.js";
import { type Answer, batch, VERSION_1_4 } from "./fake-kmip-server.js";

const world = fakeKmipWorld();
const { keystore, answering } = world;

/** The application specific information among the attributes of a Register. */
function informationIn(register: readonly Item[]): Item[] {
  const template = register.find(({ tag }) => tag === TAG.TemplateAttribute);
  return (template?.value as Item[]).filter((attribute) =>
    (attribute.value as Item[]).some(({ value }) => value === "Application Specific Information"),
  );
}

async function errorOf(work: Promise<unknown>): Promise<LuksmithError> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(LuksmithError);
  return thrown as LuksmithError;
}

describe("KMIP: what a server refuses", () => {
  it.each([
    ["PermissionDenied", "KEYSTORE_FORBIDDEN", "host1"],
    ["NotAuthorised", "KEYSTORE_FORBIDDEN", "host1"],
    ["NotExtractable", "KEYSTORE_FORBIDDEN", "host1"],
    ["OperationNotSupported", "KEYSTORE_FORBIDDEN", "allow Locate"],
    ["AuthenticationNotSuccessful", "KEYSTORE_AUTH_FAILED", "certificate of host1"],
    ["BadPassword", "KEYSTORE_AUTH_FAILED", "certificate of host1"],
    ["InvalidField", "KEYSTORE_UNAVAILABLE", "log"],
    ["ServerLimitExceeded", "KEYSTORE_UNAVAILABLE", "log"],
  ] as const)("says for %s who is meant and what to do", async (reason, code, hint) => {
    answering({ Locate: { reason: REASON[reason], message: "the server's words" } });
    const error = await errorOf(keystore().fetch(newKeyUuid()));
    expect(error).toMatchObject({ code, hint: expect.stringContaining(hint) as string });
    expect(renderError(error)).toContain("the server's words");
  });

  it("names the operations that the server has when one is missing", async () => {
    answering({
      Locate: { reason: REASON.OperationNotSupported },
      Query: [enumeration(TAG.Operation, OPERATION.Get), enumeration(TAG.Operation, 0x1f)],
    });
    const error = await errorOf(keystore().fetch(newKeyUuid()));
    expect(error.why).toMatch(/Locate was refused.*offers Get$/);
  });

  it("says that nothing was stored when the server takes no objects", async () => {
    answering({ Register: { reason: REASON.InvalidField, message: "no secret data here" } });
    await expect(storeText(keystore(), sampleRecord(), "x")).rejects.toMatchObject({
      code: "KEYSTORE_WRITE_FAILED",
    });
  });

  it.each(["ObjectAlreadyExists", "NonUniqueNameAttribute"] as const)(
    "says that a UUID is taken on a server that gives a name only once: %s",
    async (reason) => {
      answering({ Register: { reason: REASON[reason] } });
      await expect(storeText(keystore(), sampleRecord(), "x")).rejects.toMatchObject({ code: "KEY_EXISTS" });
    },
  );

  it("knows its own object when the answer to Register is lost, though the name can be given only once", async () => {
    let stored: Item[] | undefined;
    world.fake.answer = ({ operation, payload }) => {
      if (operation === "Discover Versions") return VERSION_1_4;
      if (operation === "Locate") return stored === undefined ? [] : ids("7");
      if (operation === "Get Attributes") return stored ?? [];
      if (operation === "Register") {
        if (stored !== undefined) return { reason: REASON.NonUniqueNameAttribute };
        const [, preActive] = attributes(sampleRecord(), STATE.PreActive);
        stored = [...ids("7"), preActive!, ...informationIn(payload)];
        return ids("7");
      }
      return [];
    };
    let lost = false;
    world.fake.whole = (asked) => {
      if (asked[0]?.operation !== "Register" || lost) return undefined;
      lost = true;
      world.fake.answer(asked[0]);
      return "hang up";
    };
    await storeText(keystore(), sampleRecord(), "x");
    expect(world.fake.messages.flat().map(({ operation }) => operation)).toContain("Activate");
  });

  it("says so when it may not clear away what was left half stored", async () => {
    const record = sampleRecord();
    answering({
      Locate: ids("7"),
      "Get Attributes": attributes(record, STATE.PreActive),
      Destroy: { reason: REASON.PermissionDenied },
    });
    await expect(storeText(keystore({ timeout: 3 }), record, "x")).rejects.toMatchObject({
      code: "KEYSTORE_FORBIDDEN",
    });
  });

  it("does not take a listed key for one that is not there", async () => {
    const record = sampleRecord();
    answering({
      Locate: ids("7"),
      "Get Attributes": attributes(record),
      Get: { reason: REASON.ItemNotFound },
    });
    await expect(keystore().fetch(record.uuid as never)).rejects.toMatchObject({
      code: "KEYSTORE_FORBIDDEN",
    });
  });

  it("takes what the server remembers of destroyed objects for nothing", async () => {
    answering({
      Locate: ids("7"),
      "Get Attributes": attributes(sampleRecord(), STATE.Destroyed),
      Get: { reason: REASON.ObjectDestroyed },
    });
    expect(await keystore().fetch(newKeyUuid())).toBeUndefined();
    expect(await keystore().list()).toEqual([]);
  });

  it("shows the user and the password, and says when they are wrong", async () => {
    const passwordFile = join(world.directory, "password");
    writeFileSync(passwordFile, "s3cret pässword\n");
    chmodSync(passwordFile, 0o600);
    const ours = keystore({ user: "luksmith", passwordFile });
    expect(await ours.list()).toEqual([]);
    for (const asked of world.fake.messages.flat()) {
      expect(asked).toMatchObject({ user: "luksmith", password: "s3cret pässword" });
    }
    world.fake.whole = () => ({ reason: REASON.AuthenticationNotSuccessful });
    const error = await errorOf(ours.list());
    expect(error.code).toBe("KEYSTORE_AUTH_FAILED");
    expect(renderError(error)).toContain("password of luksmith");
    expect(renderError(error)).not.toContain("s3cret");
  });
});

describe("KMIP: what a server must not answer", () => {
  const uuid = newKeyUuid();
  const record = sampleRecord({ uuid });

  it.each<[string, Answer]>([
    ["another object", object("8", Buffer.from("passphrase"))],
    ["an empty passphrase", object("7", Buffer.alloc(0))],
    ["a wrapped passphrase", object("7", Buffer.from("passphrase"), structure(TAG.KeyWrappingData))],
    ["an object without a key", object("7", Buffer.from("passphrase")).slice(0, 2)],
    ["nothing", []],
  ])("believes no Get that gives %s", async (_, answer) => {
    answering({ Locate: ids("7"), "Get Attributes": attributes(record), Get: answer });
    await expect(keystore().fetch(uuid)).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
  });

  it.each<[string, Item[]]>([
    ["of another key", attributes(sampleRecord())],
    ["that is no record", attributes({ ...record, state: "new" as never })],
    ["of nobody", attributes(record).slice(0, 2)],
  ])("says that a key with a record %s is damaged", async (_, answer) => {
    answering({ Locate: ids("7"), "Get Attributes": answer, Get: object("7", Buffer.from("passphrase")) });
    await expect(keystore().fetch(uuid)).rejects.toMatchObject({ code: "KEY_CORRUPT" });
  });

  it("does not choose between two keys of one name", async () => {
    answering({ Locate: ids("7", "9"), "Get Attributes": attributes(record) });
    world.fake.answer = ((before) => (asked) => {
      const id = asked.payload.find(({ tag }) => tag === TAG.UniqueIdentifier)?.value as string;
      return asked.operation === "Get" ? object(id, Buffer.from("passphrase")) : before(asked);
    })(world.fake.answer);
    await expect(keystore().fetch(uuid)).rejects.toMatchObject({ code: "KEY_CORRUPT" });
  });

  it("does not take a part of the objects for all", async () => {
    answering({ Locate: [integer(TAG.LocatedItems, 3), ...ids("7")], "Get Attributes": attributes() });
    await expect(keystore().list()).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
  });

  const done = (operation: number, id = 1) =>
    structure(
      TAG.BatchItem,
      enumeration(TAG.Operation, operation),
      bytes(TAG.UniqueBatchItemId, Buffer.from([0, 0, 0, id])),
      enumeration(TAG.ResultStatus, 0),
    );
  it.each<[string, Buffer]>([
    ["bytes without sense", Buffer.from("ff".repeat(64), "hex")],
    ["another protocol", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["a message of 4 GiB", Buffer.from("42007b01ffffffff", "hex")],
    ["more than it says", Buffer.concat([batch([done(OPERATION.Locate)]), Buffer.alloc(8)])],
    ["no response", Buffer.from("4200780100000000", "hex")],
    ["an answer to another operation", batch([done(OPERATION.Get)])],
    ["an answer to another item", batch([done(OPERATION.Locate, 2)])],
    ["two answers", batch([done(OPERATION.Locate), done(OPERATION.Locate, 2)])],
    ["no answer", batch([])],
    ["fewer answers than it says", batch([done(OPERATION.Locate)], 2)],
  ])("believes no answer that is %s", async (_, answer) => {
    world.fake.whole = ([first]) => (first?.operation === "Discover Versions" ? undefined : answer);
    const start = performance.now();
    await expect(keystore().fetch(uuid)).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
    expect(performance.now() - start).toBeLessThan(3000);
    // the next answer is listened to again
    world.fake.whole = () => undefined;
    expect(await keystore().fetch(uuid)).toBeUndefined();
  });
});

describe("KMIP: versions and batches", () => {
  it.each([
    [["2.0", "1.2", "1.4"], "1.4"],
    [["1.1", "2.0", "1.3"], "2.0"],
    [["1.0", "1.1", "1.2"], "1.2"],
    [["1.1"], "1.1"],
  ])("of %j takes %s", async (theirs, agreed) => {
    answering({ "Discover Versions": theirs.map((version) => versionItem(version as never)) });
    await keystore().fetch(newKeyUuid());
    expect(world.fake.messages.at(-1)).toMatchObject([{ operation: "Locate", version: agreed }]);
  });

  it("asks in the version that the server takes", async () => {
    world.fake.whole = ([first]) =>
      first?.version === "1.1" ? undefined : { reason: REASON.InvalidMessage };
    answering({ "Discover Versions": [versionItem("1.1")] });
    await keystore().fetch(newKeyUuid());
    expect(world.fake.messages.at(-1)).toMatchObject([{ operation: "Locate", version: "1.1" }]);
  });

  it("says that there is no version in common", async () => {
    answering({ "Discover Versions": [versionItem("1.0" as never), versionItem("3.0" as never)] });
    const error = await errorOf(keystore().fetch(newKeyUuid()));
    expect(error).toMatchObject({
      code: "KEYSTORE_ANSWER_INVALID",
      why: expect.stringContaining("1.4") as string,
    });
  });

  it("does not negotiate where the settings say the version", async () => {
    await keystore({ version: "1.3" }).fetch(newKeyUuid());
    expect(world.fake.messages).toMatchObject([[{ operation: "Locate", version: "1.3" }]]);
  });

  it("asks together what is asked at once", async () => {
    const ours = keystore();
    await Promise.all(Array.from({ length: 16 }, () => ours.fetch(newKeyUuid())));
    expect(world.fake.messages.map((asked) => asked.length)).toEqual([1, 16]);
  });

  it("asks one by one a server that takes no batches, or has too much to say", async () => {
    world.fake.whole = (asked) => (asked.length > 1 ? { reason: REASON.ResponseTooLarge } : undefined);
    const ours = keystore();
    expect(await Promise.all([ours.fetch(newKeyUuid()), ours.fetch(newKeyUuid())])).toEqual([
      undefined,
      undefined,
    ]);
    expect(world.fake.messages.map((asked) => asked.length)).toEqual([1, 2, 1, 1]);
  });

  it("deletes on a server that takes no batches", async () => {
    world.fake.whole = (asked) => (asked.length > 1 ? { reason: REASON.InvalidMessage } : undefined);
    const record = sampleRecord();
    answering({ Locate: ids("7"), "Get Attributes": attributes(record) });
    await keystore().delete(keyUuidOf(record));
    expect(world.fake.messages.slice(-2)).toMatchObject([
      [{ operation: "Revoke" }],
      [{ operation: "Destroy" }],
    ]);
  });
});
