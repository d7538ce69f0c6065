import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchesPattern } from "../../src/request/name-pattern.js";

describe("matchesPattern", () => {
  it.each([
    ["finance-*", "finance-db1"],
    ["finance-*", "finance-"],
    ["*", ""],
    ["***", "any"],
    ["?", "🔐"],
    ["*.img", "/srv/vm/a.img"],
    ["/srv/*/a?.img", "/srv/vm/deep/er/ab.img"],
    ["*a*b*c", "xxaxxbxxbc"],
    ["a\nb*", "a\nb\nc"],
    ["[a-z]$(x)^.+", "[a-z]$(x)^.+"],
  ])("%j matches %j", (pattern, text) => {
    expect(matchesPattern(pattern, text)).toBe(true);
  });

  it.each([
    ["finance-*", "xfinance-db1"],
    ["finance-*", "Finance-db1"],
    ["db?", "db"],
    ["db?", "db12"],
    ["", "a"],
    ["[a-z]", "a"],
    ["a.c", "abc"],
    ["*ab", "aba"],
    ["a*a", "a"],
  ])("%j does not match %j", (pattern, text) => {
    expect(matchesPattern(pattern, text)).toBe(false);
  });

  it("is not slow for any pattern", () => {
    const text = "a".repeat(20_000);
    expect(matchesPattern("*a".repeat(500) + "b", text)).toBe(false);
    expect(matchesPattern("*".repeat(100_000), text)).toBe(true);
    expect(matchesPattern("?*".repeat(5_000) + "b", text)).toBe(false);
  });

  it("agrees with the obvious definition", () => {
    const letters = fc.array(fc.constantFrom("a", "b", "/"), { maxLength: 8 }).map((all) => all.join(""));
    const patterns = fc
      .array(fc.constantFrom("a", "b", "/", "*", "?"), { maxLength: 6 })
      .map((all) => all.join(""));
    fc.assert(fc.property(patterns, letters, (p, t) => matchesPattern(p, t) === matchesByDefinition(p, t)));
  });
});

function matchesByDefinition(pattern: string, text: string): boolean {
  if (pattern === "") return text === "";
  const rest = pattern.slice(1);
  if (pattern.startsWith("*")) {
    return Array.from({ length: text.length + 1 }, (_, taken) => text.slice(taken)).some((tail) =>
      matchesByDefinition(rest, tail),
    );
  }
  return (
    text !== "" &&
    (pattern.startsWith("?") || pattern[0] === text[0]) &&
    matchesByDefinition(rest, text.slice(1))
  );
}
