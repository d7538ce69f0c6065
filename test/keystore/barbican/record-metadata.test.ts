import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { othersIn, recordIn, toMetadata } from "../../../src/keystore/barbican/record-metadata.js";
import { sampleRecord } from "../sample-key.js";

/** Any UTF-16, with halves of characters. */
const anyText = fc.string({
  unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
});

describe("a key record in a secret's metadata", () => {
  it("comes back as it was, whatever its texts are", () => {
    fc.assert(
      fc.property(anyText, anyText, fc.string({ unit: "binary", maxLength: 600 }), (id, name, volume) => {
        const record = sampleRecord({ guest: { id, name }, volume });
        expect(recordIn(toMetadata(record), keyUuidOf(record))).toEqual({ kind: "record", record });
      }),
    );
  });

  it("is in pieces that Barbican changes neither by its limits nor by taking white space away", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 0, max: 600 }), (name, blanks) => {
        const record = sampleRecord({ guest: { id: " ".repeat(blanks), name } });
        for (const [key, piece] of Object.entries(toMetadata(record))) {
          expect(key).toMatch(/^luksmith-\d{3}$/);
          expect(piece).toMatch(/^[!-~]{1,255}$/);
        }
      }),
    );
  });

  it("is whole or damaged, whatever piece is missing", () => {
    const record = sampleRecord({ volume: "x".repeat(1000) });
    const metadata = toMetadata(record);
    expect(Object.keys(metadata).length).toBeGreaterThan(4);
    for (const key of Object.keys(metadata)) {
      const rest = Object.fromEntries(Object.entries(metadata).filter(([other]) => other !== key));
      expect(recordIn(rest, keyUuidOf(record))).toMatchObject({ kind: "damaged" });
    }
    expect(recordIn(metadata, newKeyUuid())).toMatchObject({ kind: "damaged" });
  });

  it("leaves alone what others have written", () => {
    const record = sampleRecord();
    const others = { ticket: "4711", "luksmith-note": "ours by name only", luksmith: "x" };
    const metadata = { ...others, ...toMetadata(record) };
    expect(othersIn(metadata)).toEqual(others);
    expect(recordIn(metadata, keyUuidOf(record))).toEqual({ kind: "record", record });
  });
});
