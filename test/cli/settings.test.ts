import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { commandLine, luksmith } from "./luksmith.js";

const set = (input: string, ...options: string[]) =>
  luksmith(["settings", "set", "--dry-run", ...options], { input });

describe("settings set", () => {
  it("reads standard input", () => {
    expect(set(`{"version": 1}`)).toMatchObject({ status: 0, stderr: "" });
  });

  it("does not wait for a terminal, and says how it is called", () => {
    const line = commandLine(["settings", "set", "--dry-run"]).map((word) => `'${word}'`);
    const { status, stdout } = spawnSync("script", ["-qec", line.join(" "), "/dev/null"], {
      encoding: "utf8",
      stdio: ["pipe", "pipe", "pipe"],
    });

    expect(status).toBe(2);
    expect(stdout).toContain("standard input is a terminal");
    expect(stdout).toContain("luksmith settings set < FILE");
  });

  it.each(["", "\n \n"])("says that nothing came: %j", (input) => {
    const { status, stdout, stderr } = set(input);

    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("nothing came on standard input");
  });

  it.each(["e3b0c442", "x".repeat(64), "0".repeat(65)])("takes no digest that is none: %j", (digest) => {
    const { status, stdout } = set(`{"version": 1}`, "--digest", digest);

    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  it.each(["0123456789ABCDEF".repeat(4)])("takes the digest %s", (digest) => {
    expect(set(`{"version": 1}`, "--digest", digest)).toMatchObject({ status: 0 });
  });
});
