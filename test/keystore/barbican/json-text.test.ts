import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonText } from "../../../src/keystore/barbican/json-text.js";

describe("text as JSON, from bytes to bytes", () => {
  it("is read back by JSON.parse as it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
        // a lone surrogate is no UTF-8, which is what the bytes are
        const bytes = Buffer.from(text, "utf8");
        expect(JSON.parse(jsonText(bytes).toString("utf8"))).toBe(bytes.toString("utf8"));
      }),
    );
  });

  it("escapes what JSON does not allow inside a string, and nothing else", () => {
    expect(jsonText(Buffer.from('pä"ss\\wo\n\u0000\u001frd 🔑/')).toString()).toBe(
      '"pä\\"ss\\\\wo\\u000a\\u0000\\u001frd 🔑/"',
    );
    expect(jsonText(Buffer.alloc(0)).toString()).toBe('""');
  });
});
