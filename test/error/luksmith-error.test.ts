import { describe, expect, test } from "vitest";
import { CATALOGUE, EXIT } from "../../src/error/catalogue.js";
import { asLuksmithError, errnoOf, LuksmithError, renderError } from "../../src/error/luksmith-error.js";
import { Secret } from "../../src/secret/secret.js";

const missingKey = new LuksmithError("KEY_NOT_FOUND", {
  what: "disk vda needs key 7f3a",
  why: "keystore vault has no such key",
  hint: "luksmith keys list",
});

describe("an error", () => {
  test("is printed as what, why and hint", () => {
    expect(renderError(missingKey)).toBe(
      "error: disk vda needs key 7f3a\ncause: keystore vault has no such key\nhint: luksmith keys list",
    );
  });

  test("prints only the lines that it has", () => {
    expect(renderError(new LuksmithError("USAGE", { what: "unknown command" }))).toBe(
      "error: unknown command",
    );
    expect(renderError(new LuksmithError("USAGE", { what: "unknown command", hint: "luksmith help" }))).toBe(
      "error: unknown command\nhint: luksmith help",
    );
  });

  test("seen from a larger task keeps its code, why, hint and exit code", () => {
    const seen = missingKey.within("cannot start guest web1");

    expect(seen).toMatchObject({
      code: "KEY_NOT_FOUND",
      message: "cannot start guest web1: disk vda needs key 7f3a",
      why: missingKey.why,
      hint: missingKey.hint,
      exitCode: EXIT.unavailable,
      cause: missingKey,
    });
    expect(renderError(new LuksmithError("USAGE", { what: "b" }).within("a"))).toBe("error: a: b");
  });
});

describe("the catalogue", () => {
  test("has an exit code of the documented ones for each error, never success", () => {
    const documented: number[] = Object.values(EXIT).filter((exit) => exit !== EXIT.ok);

    for (const [code, { exit }] of Object.entries(CATALOGUE)) expect(documented, code).toContain(exit);
  });

  test("has exit codes that no shell or signal uses", () => {
    expect(new Set(Object.values(EXIT)).size).toBe(Object.values(EXIT).length);
    for (const exit of Object.values(EXIT)) expect(exit).toBeLessThan(64);
  });
});

describe("what was not foreseen", () => {
  test("becomes INTERNAL and keeps its message and cause", () => {
    const bug = new TypeError("x is undefined");

    expect(asLuksmithError(bug)).toMatchObject({
      code: "INTERNAL",
      why: "x is undefined",
      cause: bug,
      exitCode: 1,
    });
    expect(asLuksmithError("text")).toMatchObject({ code: "INTERNAL", why: "text" });
    expect(asLuksmithError(undefined)).toMatchObject({ code: "INTERNAL", why: "undefined" });
  });

  test("shows no live secret", () => {
    using passphrase = Secret.own(Buffer.from("correct horse battery staple"));
    const quoting = new Error(`bad passphrase: ${passphrase.use((bytes) => bytes.toString())}`);

    expect(renderError(asLuksmithError(quoting))).toContain("bad passphrase: [redacted]");
  });
});

test("a LuksmithError stays what it is", () => {
  expect(asLuksmithError(missingKey)).toBe(missingKey);
});

test.each<[unknown, string | undefined]>([
  [Object.assign(new Error("no space"), { code: "ENOSPC" }), "ENOSPC"],
  [Object.assign(new Error("odd"), { code: 28 }), undefined],
  [new Error("plain"), undefined],
  [{ code: "ENOENT" }, undefined],
  ["ENOENT", undefined],
  [undefined, undefined],
])("the errno of %s is %s", (thrown, errno) => {
  expect(errnoOf(thrown)).toBe(errno);
});

test("shows control characters of a hostile name instead of obeying them, and keeps its own line ends", () => {
  const error = new LuksmithError("SETTINGS_INVALID", { what: "guest \u001b[31mred", why: "one\ntwo" });
  expect(renderError(error)).toBe("error: guest \\u{1b}[31mred\ncause: one\ntwo");
});
