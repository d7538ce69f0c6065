import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPlainText, takeText } from "../../../src/keystore/vault/json-bytes.js";

describe("a text that is taken out of JSON", () => {
  it.each([
    ['{"passphrase":"abc","x":1}', "abc", '{"passphrase":"***","x":1}'],
    ['{"a":{"passphrase": \n "abc"}}', "abc", '{"a":{"passphrase": \n "***"}}'],
    ['{"passphrase":""}', "", '{"passphrase":""}'],
    [
      '{"record":"{\\"passphrase\\":\\"no\\"}","passphrase":"yes"}',
      "yes",
      '{"record":"{\\"passphrase\\":\\"no\\"}","passphrase":"***"}',
    ],
    ['{"x":"passphrase","passphrase":"yes"}', "yes", '{"x":"passphrase","passphrase":"***"}'],
  ])("is gone from it: %s", (json, value, rest) => {
    const bytes = Buffer.from(json);
    expect(String(takeText(bytes, "passphrase"))).toBe(value);
    expect(String(bytes)).toBe(rest);
  });

  it.each([
    ["an escape", '{"passphrase":"a\\u003cb"}'],
    ["two members of the name", '{"passphrase":"a","b":{"passphrase":"c"}}'],
    ["a number", '{"passphrase":1}'],
    ["an end that is missing", '{"passphrase":"abc'],
    ["another name", '{"passphrases":"abc"}'],
    ["nothing", ""],
  ])("is left to the parser with %s", (_, json) => {
    const bytes = Buffer.from(json);
    expect(takeText(bytes, "passphrase")).toBeUndefined();
    expect(String(bytes)).toBe(json);
  });

  it("is what the parser reads, wherever it stands", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (other, text) => {
        const json = JSON.stringify({ other, passphrase: text });
        const bytes = Buffer.from(json);
        const taken = takeText(bytes, "passphrase");
        if (taken === undefined) expect(String(bytes)).toBe(json);
        else {
          expect(String(taken)).toBe(text);
          expect(JSON.parse(String(bytes))).toMatchObject({
            passphrase: expect.stringMatching(/^\**$/) as string,
          });
        }
        expect(taken !== undefined).toBe(
          !JSON.stringify(text).includes("\\") && !/"passphrase":.*"passphrase":/.test(json),
        );
      }),
    );
  });

  it("may stand in JSON as it is if Go and JavaScript write it so", () => {
    for (let byte = 0; byte < 256; byte++) {
      const isSame = byte < 128 && JSON.stringify(String.fromCharCode(byte)).length === 3 && byte !== 127;
      expect(isPlainText(Buffer.from([byte])), `byte ${byte}`).toBe(
        isSame && !"<>&".includes(String.fromCharCode(byte)),
      );
    }
  });
});
