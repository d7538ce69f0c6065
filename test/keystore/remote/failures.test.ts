import { describe, expect, it } from "vitest";
import { type LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import {
  badAnswer,
  connectionFailure,
  forbidden,
  isConnectionFailure,
  notAuthenticated,
  quoted,
  unavailable,
} from "../../../src/keystore/remote/failures.js";
import { Secret } from "../../../src/secret/secret.js";

const place = { name: "vault1", address: "https://vault.example:8200" };
const failure = (code: string, message = "said by Node") => Object.assign(new Error(message), { code });

describe("a failure of a remote keystore", () => {
  it.each([
    [unavailable(place, "it sleeps"), "KEYSTORE_UNAVAILABLE"],
    [notAuthenticated(place, "it sleeps", "wake it"), "KEYSTORE_AUTH_FAILED"],
    [forbidden(place, "it sleeps", "wake it"), "KEYSTORE_FORBIDDEN"],
    [badAnswer(place, "it sleeps"), "KEYSTORE_ANSWER_INVALID"],
  ])("names the keystore, its address and why: %s", (error, code) => {
    expect(error.code).toBe(code);
    expect(error.message).toContain("keystore vault1");
    expect(error.why).toBe("https://vault.example:8200: it sleeps");
    expect(error.hint).toMatch(/\w/);
  });

  it.each([
    ["ECONNREFUSED", "KEYSTORE_UNAVAILABLE", "nothing listens there"],
    ["ECONNRESET", "KEYSTORE_UNAVAILABLE", "it closed the connection"],
    ["ENOTFOUND", "KEYSTORE_UNAVAILABLE", "unknown to DNS"],
    ["EAI_AGAIN", "KEYSTORE_UNAVAILABLE", "DNS does not answer"],
    ["EMFILE", "KEYSTORE_UNAVAILABLE", "said by Node (EMFILE)"],
    ["HPE_INVALID_CONSTANT", "KEYSTORE_ANSWER_INVALID", "it is not HTTP"],
    ["CERT_HAS_EXPIRED", "KEYSTORE_TLS_FAILED", "said by Node (CERT_HAS_EXPIRED)"],
    ["ERROR_IN_CERT_NOT_AFTER_FIELD", "KEYSTORE_TLS_FAILED", "said by Node"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "KEYSTORE_TLS_FAILED", "said by Node"],
  ])("of a connection with %s is %s", (code, expected, why) => {
    expect(connectionFailure(place, failure(code))).toMatchObject({
      code: expected,
      why: expect.stringContaining(why) as string,
    });
  });

  it.each(["AbortError", "TimeoutError"])("of a connection with %s is about time", (name) => {
    const thrown = Object.assign(new Error("aborted"), { name, code: "ABORT_ERR" });
    expect(connectionFailure(place, thrown)).toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
      why: expect.stringContaining("did not answer in time") as string,
    });
  });

  it("that is none of a connection comes back as it is", () => {
    const bug = new TypeError("a bug");
    expect(connectionFailure(place, bug)).toBe(bug);
    const known = badAnswer(place, "it is a page");
    expect(connectionFailure(place, known)).toBe(known);
  });

  it("is worth another attempt only where the connection failed", () => {
    expect(isConnectionFailure(unavailable(place, "x"))).toBe(true);
    expect(isConnectionFailure(connectionFailure(place, failure("CERT_HAS_EXPIRED")))).toBe(false);
    expect(isConnectionFailure(badAnswer(place, "x"))).toBe(false);
    expect(isConnectionFailure(new Error("x"))).toBe(false);
  });
});

describe("what a server says", () => {
  it("is quoted short, printable and without secrets", () => {
    using secret = Secret.own(Buffer.from("hvs.very-secret"));
    const text = quoted(`  invalid token \u001b[31m"hvs.very-secret"\n${"x".repeat(999)}`);
    expect(text).not.toContain("very-secret");
    expect(text).toContain("[redacted]");
    expect(text).not.toContain("\u001b");
    expect(text.length).toBeLessThan(200);
    expect(secret.length).toBe(15);
  });

  it("stays out of what a person reads where Node repeats it", () => {
    using secret = Secret.own(Buffer.from("hvs.very-secret"));
    const thrown = connectionFailure(place, failure("ESTRANGE", `cannot send hvs.very-secret`));
    expect(renderError(thrown as LuksmithError)).not.toContain("very-secret");
    expect(secret.length).toBe(15);
  });
});
