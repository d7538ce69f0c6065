import { describe, expect, it } from "vitest";
import { describeTrial, tryKeystore } from "../../src/cli/try-keystore.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Keystore, KeystoreCheck, KeyTester } from "../../src/keystore/keystore.js";

/** A keystore of which only the test is ever called. */
function fakeKeystore(test: KeyTester["test"]): Keystore {
  return { name: "k", type: "fake", test } as unknown as Keystore;
}

const failure = new LuksmithError("KEYSTORE_FORBIDDEN", { what: "it does not permit this" });

describe("trying a keystore", () => {
  it("tells what works, in its order, and how long it took", async () => {
    const trial = await tryKeystore(() =>
      Promise.resolve(
        fakeKeystore(async (passed) => {
          for (const check of ["reached", "TLS", "authenticated", "round trip"] as KeystoreCheck[])
            passed?.(check);
          await new Promise((resolve) => setTimeout(resolve, 30));
        }),
      ),
    );
    expect(trial).toMatchObject({
      checks: ["reached", "TLS", "authenticated", "round trip"],
      error: undefined,
    });
    expect(trial.seconds).toBeGreaterThanOrEqual(0.02);
    expect(trial.seconds).toBeLessThan(5);
  });

  it("tells what worked before something did not", async () => {
    const keystore = fakeKeystore((passed) => {
      passed?.("reached");
      return Promise.reject(failure);
    });
    expect(await tryKeystore(() => Promise.resolve(keystore))).toMatchObject({
      checks: ["reached"],
      error: failure,
    });
  });

  it("takes a keystore that cannot be made for one that does not work", async () => {
    expect(await tryKeystore(() => Promise.reject(failure))).toMatchObject({ checks: [], error: failure });
  });

  it("does not wait for ever", async () => {
    const trial = await tryKeystore(
      () => Promise.resolve(fakeKeystore(() => new Promise(() => undefined))),
      0.05,
    );
    expect(trial).toMatchObject({ checks: [], error: { code: "KEYSTORE_UNAVAILABLE" } });
  });

  it("is told in one line", () => {
    expect(describeTrial({ checks: ["reached", "TLS"], seconds: 0.314, error: undefined })).toBe(
      "reached, TLS in 0.31 s",
    );
    expect(describeTrial({ checks: [], seconds: 1, error: failure })).toBe("1.00 s");
  });
});
