import { expect, it } from "vitest";
import { printable } from "../../src/error/printable.js";

it("leaves what people can read as it is", () => {
  expect(printable(`Büro "サーバー" <🔐> $(x)`)).toBe(`Büro "サーバー" <🔐> $(x)`);
});

it("shows what steers a terminal, a log or the direction of text", () => {
  expect(printable("a\u001b[2J\n\u009b\u202eb\u2028\0\ud800")).toBe(
    "a\\u{1b}[2J\\u{a}\\u{9b}\\u{202e}b\\u{2028}\\u{0}\\u{d800}",
  );
});

it("cuts what is long, between characters", () => {
  expect(printable("🔐".repeat(81))).toBe(`${"🔐".repeat(80)}…`);
  expect(printable("a".repeat(80))).toBe("a".repeat(80));
});
