import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { BarbicanKeystore } from "../../../src/keystore/barbican/barbican-keystore.js";

const keystoreOf = (settings: { readonly url?: string; readonly projectId?: string }) =>
  new BarbicanKeystore(
    { name: "cloud", type: "barbican", tls: {}, timeout: 1, ...settings },
    { runner: new ExecaCommandRunner() },
  );

describe("a Barbican without Keystone", () => {
  it.each([
    [{}, "url"],
    [{ projectId: "vms" }, "url"],
    [{ url: "https://cloud.example:9311" }, "projectId"],
  ])("needs its address and a project: %j", (settings, missing) => {
    expect(() => keystoreOf(settings)).toThrow(
      expect.objectContaining({
        code: "SETTINGS_INVALID",
        message: expect.stringContaining(missing) as string,
      }),
    );
  });

  it("is not asked without TLS on another machine", async () => {
    const keystore = keystoreOf({ url: "http://cloud.example:9311", projectId: "vms" });
    await expect(keystore.list()).rejects.toMatchObject({ code: "SETTINGS_INVALID" });
  });

  it("is not there where nothing listens", async () => {
    const keystore = keystoreOf({ url: "http://127.0.0.1:9", projectId: "vms" });
    await expect(keystore.list()).rejects.toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
      why: expect.stringContaining("ECONNREFUSED") as string,
    });
  });
});
