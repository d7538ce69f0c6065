import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decode,
  encode,
  type Item,
  MESSAGE_LIMIT,
  messageLength,
  TtlvError,
} from "../../../src/keystore/kmip/ttlv.js";

const TAG = 0x420020;

/** The examples of KMIP 1.4, section 9.1.2. */
const EXAMPLES: readonly (readonly [string, Item])[] = [
  ["42002002000000040000000800000000", { tag: TAG, type: "integer", value: 8 }],
  ["420020030000000801b69b4ba5749200", { tag: TAG, type: "long-integer", value: 123456789000000000n }],
  [
    "42002004000000100000000003fd35eb6bc2df4618080000",
    { tag: TAG, type: "big-integer", value: Buffer.from("0000000003fd35eb6bc2df4618080000", "hex") },
  ],
  ["4200200500000004000000ff00000000", { tag: TAG, type: "enumeration", value: 255 }],
  ["42002006000000080000000000000001", { tag: TAG, type: "boolean", value: true }],
  ["420020070000000b48656c6c6f20576f726c640000000000", { tag: TAG, type: "text", value: "Hello World" }],
  ["42002008000000030102030000000000", { tag: TAG, type: "bytes", value: Buffer.from([1, 2, 3]) }],
  [
    "42002009000000080000000047da67f8",
    { tag: TAG, type: "date-time", value: BigInt(Date.UTC(2008, 2, 14, 11, 56, 40) / 1000) },
  ],
  ["4200200a00000004000d2f0000000000", { tag: TAG, type: "interval", value: 10 * 24 * 3600 }],
  [
    "42002001000000204200040500000004000000fe000000004200050200000004000000ff00000000",
    {
      tag: TAG,
      type: "structure",
      value: [
        { tag: 0x420004, type: "enumeration", value: 254 },
        { tag: 0x420005, type: "integer", value: 255 },
      ],
    },
  ],
];

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const data = (multiple = 1) =>
  fc
    .uint8Array({ maxLength: 40 })
    .map((bytes) => Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % multiple))));

const { item } = fc.letrec<{ item: Item; leaf: Item; structure: Item }>((tie) => ({
  item: fc.oneof({ maxDepth: 5, withCrossShrink: true }, tie("leaf"), tie("structure")),
  structure: fc.record({
    tag: tag(),
    type: fc.constant("structure" as const),
    value: fc.array(tie("item"), { maxLength: 4 }),
  }),
  leaf: fc.oneof<fc.Arbitrary<Item>[]>(
    fc.record({ tag: tag(), type: fc.constant("integer" as const), value: fc.integer() }),
    fc.record({ tag: tag(), type: fc.constantFrom("enumeration" as const), value: uint32 }),
    fc.record({ tag: tag(), type: fc.constantFrom("interval" as const), value: uint32 }),
    fc.record({ tag: tag(), type: fc.constantFrom("long-integer" as const), value: int64 }),
    fc.record({ tag: tag(), type: fc.constantFrom("date-time" as const), value: int64 }),
    fc.record({ tag: tag(), type: fc.constantFrom("date-time-extended" as const), value: int64 }),
    fc.record({ tag: tag(), type: fc.constant("boolean" as const), value: fc.boolean() }),
    fc.record({ tag: tag(), type: fc.constant("text" as const), value: fc.string({ unit: "grapheme" }) }),
    fc.record({ tag: tag(), type: fc.constant("bytes" as const), value: data() }),
    fc.record({
      tag: tag(),
      type: fc.constant("big-integer" as const),
      value: data(8).filter((bytes) => bytes.length > 0),
    }),
  ),
}));

function tag(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 0xffffff });
}

/** What `decode` makes of `bytes`, or its error; anything else that it throws fails the test. */
function attempt(bytes: Buffer): Item | TtlvError {
  try {
    return decode(bytes);
  } catch (thrown) {
    if (thrown instanceof TtlvError) return thrown;
    throw thrown;
  }
}

function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUIntBE(TAG, 0, 3);
  bytes[3] = type;
  bytes.writeUInt32BE(length, 4);
  return bytes;
}

function nested(depth: number): Buffer {
  const headers = Array.from({ length: depth }, (_, level) => header(1, 8 * (depth - level - 1)));
  return Buffer.concat(headers);
}

describe("TTLV", () => {
  it.each(EXAMPLES)("is what the specification's example is: %s", (hex, example) => {
    expect(encode(example).toString("hex")).toBe(hex);
    expect(decode(Buffer.from(hex, "hex"))).toEqual(example);
  });

  it("comes back as it was", () => {
    fc.assert(
      fc.property(item, (original) => {
        const bytes = encode(original);
        expect(bytes.length % 8).toBe(0);
        expect(decode(bytes)).toEqual(original);
      }),
    );
  });

  it("is read in one way only: what decodes encodes to the same bytes", () => {
    const changed = fc
      .tuple(item, fc.nat(), fc.integer({ min: 1, max: 255 }))
      .map(([original, at, change]) => {
        const bytes = encode(original);
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ change;
        return bytes;
      });
    fc.assert(
      fc.property(changed, (bytes) => {
        const result = attempt(bytes);
        if (!(result instanceof TtlvError)) expect(encode(result)).toEqual(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it("takes any bytes for what they are or for an error", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
      // begins as an item does
      fc
        .tuple(
          fc.integer({ min: 0, max: 15 }),
          fc.integer({ min: 0, max: 80 }),
          fc.uint8Array({ maxLength: 80 }),
        )
        .map(([type, length, rest]) => Buffer.concat([header(type, length), rest])),
    );
    fc.assert(
      fc.property(bytes, (input) => {
        attempt(input);
      }),
      { numRuns: 5000 },
    );
  });

  it("does not take what is cut off, or continues", () => {
    fc.assert(
      fc.property(item, fc.nat(), (original, at) => {
        const bytes = encode(original);
        expect(() => decode(bytes.subarray(0, at % bytes.length))).toThrow(TtlvError);
        expect(() => decode(Buffer.concat([bytes, Buffer.alloc(8)]))).toThrow(TtlvError);
      }),
    );
  });

  it.each([17, 18, 1000, 10_000, 131_000])("does not follow %i structures within each other", (depth) => {
    expect(() => decode(nested(depth))).toThrow("deeper");
  });

  it("follows 16", () => {
    expect(attempt(nested(16))).not.toBeInstanceOf(TtlvError);
  });

  it("does not count on lengths: up to 4 GiB are claimed and not there", () => {
    for (const type of [1, 7, 8]) {
      for (const length of [16, 2 ** 20, 2 ** 31, 2 ** 32 - 1]) {
        expect(() => decode(Buffer.concat([header(type, length), Buffer.alloc(8)]))).toThrow(TtlvError);
      }
    }
  });

  it("bounds the size and the number of items", () => {
    expect(() => decode(Buffer.alloc(MESSAGE_LIMIT + 8))).toThrow(`more than ${MESSAGE_LIMIT}`);
    const empty = header(8, 0);
    const many = Buffer.concat([header(1, 8 * 70_000), ...Array.from({ length: 70_000 }, () => empty)]);
    expect(() => decode(many)).toThrow("items");
  });

  it.each([
    ["an unknown type", "4200200c00000000"],
    ["type 0", "4200200000000000"],
    ["an integer of 8 bytes", "42002002000000080000000000000001"],
    ["an enumeration of 3 bytes", "42002005000000030000010000000000"],
    ["a date of 4 bytes", "42002009000000040000000100000000"],
    ["a boolean that is 2", "42002006000000080000000000000002"],
    ["a number of 4 bytes", "42002004000000040000000100000000"],
    ["a number of none", "4200200400000000"],
    ["text that is not UTF-8", "4200200700000002c0800000000000000".slice(0, 32)],
    ["padding that is not zero", "42002002000000040000000800000001"],
    ["nothing", ""],
  ])("refuses %s", (_, hex) => {
    expect(() => decode(Buffer.from(hex, "hex"))).toThrow(TtlvError);
  });

  it("tells the length of a message by its first 8 bytes, and refuses what cannot be one", () => {
    expect(messageLength(header(1, 24))).toBe(32);
    expect(messageLength(header(1, MESSAGE_LIMIT - 8))).toBe(MESSAGE_LIMIT);
    expect(() => messageLength(header(1, MESSAGE_LIMIT))).toThrow(TtlvError);
    expect(() => messageLength(header(1, 2 ** 32 - 1))).toThrow(TtlvError);
    expect(() => messageLength(Buffer.from("HTTP/1.1 400 Bad Request"))).toThrow(TtlvError);
  });
});
