import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../../src/ui/form/json.js";
import { getAt, isWithin, parentOf, pointerOf, setAt, tokensOf } from "../../../src/ui/form/pointer.js";

const NAME = fc.oneof(fc.string(), fc.constantFrom("a/b", "m~n", "", "0", "__proto__", "constructor"));
const JSON_VALUE = fc.jsonValue() as fc.Arbitrary<Json>;

describe("JSON Pointer", () => {
  it("comes back as the names that it was made of", () => {
    fc.assert(
      fc.property(fc.array(NAME), (tokens) => {
        expect(tokensOf(pointerOf(tokens))).toEqual(tokens);
      }),
    );
  });

  it("finds what was set, and changes nothing beside it or in the original", () => {
    fc.assert(
      fc.property(
        fc.dictionary(NAME, JSON_VALUE),
        fc.array(NAME, { minLength: 1 }),
        JSON_VALUE,
        (value, tokens, entered) => {
          const before = structuredClone(value);
          const list = Array.isArray(getAt(value, pointerOf(tokens.slice(0, -1))));
          fc.pre(
            !list && !tokens.some((_, end) => Array.isArray(getAt(value, pointerOf(tokens.slice(0, end))))),
          );
          const changed = setAt(value, pointerOf(tokens), entered);
          expect(getAt(changed, pointerOf(tokens))).toEqual(entered);
          expect(value).toEqual(before);
          for (const other of Object.keys(value).filter((name) => name !== tokens[0])) {
            expect(getAt(changed, pointerOf([other]))).toBe(getAt(value, pointerOf([other])));
          }
        },
      ),
    );
  });

  it("takes a member away, and an item out of its list", () => {
    expect(setAt({ a: { b: 1, c: 2 } }, "/a/b", undefined)).toEqual({ a: { c: 2 } });
    expect(setAt({ a: [1, 2, 3] }, "/a/1", undefined)).toEqual({ a: [1, 3] });
  });

  it("adds at the end of a list, never beyond it", () => {
    expect(setAt({ a: [1] }, "/a/1", 2)).toEqual({ a: [1, 2] });
    expect(setAt({ a: [1] }, "/a/5", 2)).toEqual({ a: [1] });
  });

  it("keeps the order of members, so that a saved file stays as its author wrote it", () => {
    expect(JSON.stringify(setAt({ b: 1, a: 2 }, "/b", 3))).toBe('{"b":3,"a":2}');
  });

  it("reads __proto__ as a name like any other", () => {
    const changed = setAt({}, "/__proto__/polluted", true);
    expect(Object.hasOwn(changed as object, "__proto__")).toBe(true);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("knows what is within what", () => {
    expect(isWithin("/keystores/1/url", "/keystores/1")).toBe(true);
    expect(isWithin("/keystores/10", "/keystores/1")).toBe(false);
    expect(parentOf("/keystores/1")).toBe("/keystores");
    expect(parentOf("")).toBeUndefined();
  });
});
