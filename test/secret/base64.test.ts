import fc from "fast-check";
import { expect, test } from "vitest";
import { base64 } from "../../src/secret/base64.js";

test("encodes as Node does, for every length of the last group and every byte", () => {
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  for (let length = 0; length <= everyByte.length; length++) {
    const bytes = everyByte.subarray(0, length);
    expect(base64(bytes).toString("latin1")).toBe(bytes.toString("base64"));
  }
});

test("encodes as Node does, for any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(base64(Buffer.from(bytes)).toString("latin1")).toBe(Buffer.from(bytes).toString("base64"));
    }),
  );
});
