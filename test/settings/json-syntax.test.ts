import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findSyntaxProblem } from "../../src/settings/json-syntax.js";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("the place of a syntax error", () => {
  it.each([
    ["[1, 2", 1, 6, "expected , or ], found the end"],
    ['{"a" 1}', 1, 6, "expected :, found 1"],
    ['{"a": 1 "b": 2}', 1, 9, "expected , or }, found a text"],
    ['[\n"broken\nline"]', 2, 1, "expected a value, found a text with a line break or a wrong escape in it"],
    ["[1,]", 1, 4, "expected a value, found ]"],
    ["{a: 1}", 1, 2, "expected a name in double quotes, found a"],
    ["[01]", 1, 3, "expected , or ], found 1"],
    ["[nul]", 1, 2, "expected a value, found n"],
    ['{"a": tru}\r\n', 1, 7, "expected a value, found t"],
  ])("in %j", (text, line, column, sentence) => {
    const problem = findSyntaxProblem(text);
    expect([problem?.line, problem?.column]).toEqual([line, column]);
    expect(problem?.sentence).toBe(sentence);
  });

  it("is found in exactly the texts that JSON.parse refuses", () => {
    const edited = fc
      .tuple(
        fc.json(),
        fc.nat(),
        fc.constantFrom("", "}", "{", "]", "[", ",", ":", '"', "\\", "0", "-", "e", "\n", "\u0001"),
      )
      .map(
        ([json, at, put]) =>
          `${json.slice(0, at % (json.length + 1))}${put}${json.slice((at % (json.length + 1)) + 1)}`,
      );
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string(), edited), (text) => {
        expect(findSyntaxProblem(text) === undefined).toBe(isJson(text));
      }),
      { numRuns: 3000 },
    );
  });

  it("is found in any depth", () => {
    expect(findSyntaxProblem("[".repeat(500_000))).toMatchObject({ line: 1, column: 500_001 });
  });
});
