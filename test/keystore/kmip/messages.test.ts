import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readAttributes } from "../../../src/keystore/kmip/attributes.js";
import { bytes, enumeration, integer, structure, text } from "../../../src/keystore/kmip/fields.js";
import { objectOf, passphraseOf } from "../../../src/keystore/kmip/managed-object.js";
import { decodeResponse, encodeRequest } from "../../../src/keystore/kmip/messages.js";
import {
  discoverVersions,
  get,
  locate,
  queryOperations,
  register,
} from "../../../src/keystore/kmip/operations.js";
import {
  informationText,
  NAMESPACE,
  readInformation,
} from "../../../src/keystore/kmip/stored-information.js";
import { OPERATION, TAG } from "../../../src/keystore/kmip/tags.js";
import { decode, encode, type Item, TtlvError } from "../../../src/keystore/kmip/ttlv.js";
import { versionItem } from "../../../src/keystore/kmip/versions.js";
import { Secret } from "../../../src/secret/secret.js";
import { sampleRecord } from "../sample-key.js";

/** Any item that a server could send, of the tags that mean something here. */
const { item } = fc.letrec<{ item: Item }>((tie) => ({
  item: fc.oneof(
    { maxDepth: 6 },
    fc.record({ tag: tag(), type: fc.constant("integer" as const), value: fc.integer() }),
    fc.record({ tag: tag(), type: fc.constant("enumeration" as const), value: fc.nat(0x40) }),
    fc.record({ tag: tag(), type: fc.constant("text" as const), value: fc.string() }),
    fc.record({
      tag: tag(),
      type: fc.constant("bytes" as const),
      value: fc.uint8Array().map((raw) => Buffer.from(raw)),
    }),
    fc.record({ tag: tag(), type: fc.constant("structure" as const), value: fc.array(tie("item")) }),
  ),
}));

function tag(): fc.Arbitrary<number> {
  return fc.constantFrom(...Object.values(TAG));
}

/** Whatever it returns; fails the test for what it throws besides TtlvError. */
function tolerant(work: () => unknown): void {
  try {
    work();
  } catch (thrown) {
    if (!(thrown instanceof TtlvError)) throw thrown;
  }
}

function answer(...batch: Item[]): Item {
  const header = structure(TAG.ResponseHeader, versionItem("1.4"), integer(TAG.BatchCount, batch.length));
  return structure(TAG.ResponseMessage, header, ...batch);
}

function done(operation: number, id: number, ...payload: Item[]): Item {
  return structure(
    TAG.BatchItem,
    enumeration(TAG.Operation, operation),
    bytes(TAG.UniqueBatchItemId, Buffer.from([0, 0, 0, id])),
    enumeration(TAG.ResultStatus, 0),
    structure(TAG.ResponsePayload, ...payload),
  );
}

describe("KMIP messages", () => {
  it("are as the specification orders them", () => {
    const request = encodeRequest("1.4", [{ operation: "Locate", payload: [] }], {
      user: "u",
      password: undefined,
    });
    const message = decode(request);
    const [header, batch] = message.value as [Item, Item];
    const tags = (of: Item) => (of.value as Item[]).map((inner) => inner.tag);
    expect(message.tag).toBe(TAG.RequestMessage);
    // KMIP 1.4, section 7.2
    expect(tags(header)).toEqual([
      TAG.ProtocolVersion,
      TAG.MaximumResponseSize,
      TAG.Authentication,
      TAG.BatchErrorContinuationOption,
      TAG.BatchOrderOption,
      TAG.BatchCount,
    ]);
    expect(tags(batch)).toEqual([TAG.Operation, TAG.UniqueBatchItemId, TAG.RequestPayload]);
  });

  it.each(["secret-data", "symmetric-key"] as const)("never hold a passphrase that was wiped: %s", (kind) => {
    const passphrase = Secret.own(Buffer.from("passphrase"));
    const request = () => {
      const payload = register(objectOf(kind, passphrase), []).payload("1.4");
      return encodeRequest("1.4", [{ operation: "Register", payload }], undefined);
    };
    expect(request().includes("passphrase")).toBe(true);
    passphrase.dispose();
    expect(request).toThrow("disposed");
  });

  it("belong to their questions by id, in whatever order they are answered", () => {
    const message = encode(
      answer(done(OPERATION.Get, 2, text(TAG.UniqueIdentifier, "b")), done(OPERATION.Locate, 1)),
    );
    expect(decodeResponse(message, ["Locate", "Get"])).toMatchObject({
      items: [{ payload: [] }, { payload: [{ value: "b" }] }],
    });
    expect(() => decodeResponse(message, ["Get", "Locate"])).toThrow(TtlvError);
  });

  it("are an answer or an error, whatever they hold", () => {
    fc.assert(
      fc.property(fc.array(item), (items) => {
        tolerant(() => decodeResponse(encode(answer(...items)), ["Locate", "Get"]));
        tolerant(() => decodeResponse(encode(structure(TAG.ResponseMessage, ...items)), ["Locate"]));
        for (const version of ["1.4", "2.0"] as const) tolerant(() => readAttributes(version, items));
        tolerant(() => passphraseOf(items, "1"));
        for (const operation of [
          discoverVersions(),
          locate({ name: "Name", value: "n" }),
          get("1"),
          queryOperations(),
        ]) {
          tolerant(() => operation.parse(items, "1.4"));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("are an answer or an error, whatever happens to their bytes", () => {
    const good = encode(answer(done(OPERATION.Get, 1, text(TAG.UniqueIdentifier, "7"))));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Buffer.from(good);
        changed[at] = (changed[at] ?? 0) ^ change;
        tolerant(() => decodeResponse(changed, ["Get"]));
      }),
    );
  });
});

describe("KMIP: the record beside a passphrase", () => {
  const read = (data: string) =>
    readInformation({
      state: 2,
      names: [],
      groups: [],
      information: [{ namespace: NAMESPACE, data, index: 0 }],
    });

  it("is ASCII, and comes back as it was, whatever a guest is called", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), (name, disk) => {
        const record = sampleRecord({ guest: { id: "\ud800", name }, disk });
        const data = informationText({ writer: "w", record });
        expect(data).toMatch(/^[\x20-\x7e]*$/);
        expect(read(data)).toEqual({ kind: "information", information: { writer: "w", record } });
      }),
    );
  });

  it.each([
    ["no JSON", "{"],
    ["null", "null"],
    ["another version", JSON.stringify({ version: 2, writer: "w", record: sampleRecord() })],
    [
      "a record without a volume",
      JSON.stringify({ version: 1, writer: "w", record: { ...sampleRecord(), volume: 1 } }),
    ],
    ["no writer", JSON.stringify({ version: 1, record: sampleRecord() })],
  ])("is damaged where it is %s", (_, data) => {
    expect(read(data).kind).toBe("damaged");
  });
});
