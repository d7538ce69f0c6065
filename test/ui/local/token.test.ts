import { expect, it } from "vitest";
import { OneTimeToken } from "../../../src/ui/local/one-time-token.js";
import { fragmentOf, tokenIn } from "../../../src/ui/local/protocol.js";
import { randomText, SecretDigest } from "../../../src/ui/local/secret-digest.js";

it("a token has 256 bits, and is another one each time", () => {
  const texts = Array.from({ length: 100 }, () => OneTimeToken.make().text);

  expect(new Set(texts).size).toBe(100);
  for (const text of texts) expect(Buffer.from(text, "base64url")).toHaveLength(32);
});

it("works once", () => {
  const { text, token } = OneTimeToken.make();

  expect(token.take(text)).toBe("taken");
  expect(token.take(text)).toBe("used");
  expect(token.take("wrong")).toBe("used");
});

it("works after any number of wrong ones", () => {
  const { text, token } = OneTimeToken.make();
  for (let i = 0; i < 1000; i++) expect(token.take(randomText())).toBe("wrong");

  expect(token.take(text)).toBe("taken");
});

it.each(["", "x", "secret", "secret0123 ", "SECRET0123", "secret0123\0"])("%j is not secret0123", (text) => {
  const digest = new SecretDigest("secret0123");

  expect(digest.matches(text)).toBe(false);
  expect(digest.matches("secret0123")).toBe(true);
});

it("a secret cannot be had from its digest", () => {
  const { text, token } = OneTimeToken.make();

  expect(JSON.stringify([token, new SecretDigest(text)])).not.toContain(text);
});

it("is found in the address' fragment, and only there", () => {
  const { text } = OneTimeToken.make();

  expect(tokenIn(fragmentOf(text))).toBe(text);
  for (const fragment of ["", "#", "#/guests", `#token=${text}x`, `?token=${text}`, `#/guests#token=${text}`])
    expect(tokenIn(fragment)).toBeUndefined();
});
