import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { expect, it } from "vitest";
import { shellWord } from "../../src/error/shell-word.js";

it("leaves an ordinary name as it is", () => {
  expect(shellWord("web-1.example")).toBe("web-1.example");
});

it("makes one word of anything, as a real shell reads it", () => {
  const text = fc
    .string({ unit: "binary", minLength: 1, maxLength: 12 })
    .filter((t) => !/[\0\ud800-\udfff]/.test(t));
  fc.assert(
    fc.property(
      fc.oneof(text, fc.constantFrom("a b", "$(id)", "it's", "-rf", "`x`", "a\nb", ";|&")),
      (name) => {
        expect(execFileSync("sh", ["-c", `printf %s ${shellWord(name)}`]).toString()).toBe(name);
      },
    ),
    { numRuns: 60 },
  );
});
