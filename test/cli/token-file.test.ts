import { closeSync, openSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { temporaryDirectory } from "../fs/tree.js";
import { luksmith } from "./luksmith.js";

const TOKEN = "gAAAAABtoken";

function tokenFile(text: string, mode = 0o600): string {
  const path = join(temporaryDirectory(), "token");
  writeFileSync(path, text, { mode });
  return path;
}

/** A command that opens everything, and asks no keystore. */
const ALLOCATE = ["allocate", "--backend", "raw", "--dry-run", join(tmpdir(), "luksmith-test.img"), "1M"];
const allocate = (path: string, call = {}) => luksmith([...ALLOCATE, "--token-file", path], call);

describe("--token-file", () => {
  it("takes a file that only root can read", () => {
    expect(allocate(tokenFile(`${TOKEN}\n`))).toMatchObject({ status: 0, stderr: "" });
  });

  it("takes standard input, before and after the command", () => {
    expect(allocate("-", { input: `${TOKEN}\n` })).toMatchObject({ status: 0, stderr: "" });
    expect(luksmith(["--token-file", "-", ...ALLOCATE], { input: TOKEN })).toMatchObject({ status: 0 });
  });

  it.each(["/dev/fd/3", "/proc/self/fd/3"])("takes an open file as %s", (path) => {
    const fd = openSync(tokenFile(TOKEN), "r");
    onTestFinished(() => closeSync(fd));
    expect(allocate(path, { stdio: ["ignore", "pipe", "pipe", fd] })).toMatchObject({
      status: 0,
      stderr: "",
    });
  });

  it.each([
    ["that is not there", () => "/no/such/file", 2],
    ["with nothing in it", () => tokenFile(" \n"), 2],
    ["that others can read", () => tokenFile(TOKEN, 0o644), 6],
    ["that is no file", () => "/dev/zero", 6],
    ["that is a descriptor of Node itself", () => "/dev/fd/3", 2],
    ["that is a descriptor of nobody", () => "/dev/fd/999", 2],
  ])("refuses one %s", (_, make, status) => {
    const { stderr, ...rest } = allocate(make());
    expect(rest).toEqual({ status, stdout: "" });
    expect(stderr).toMatch(/^error: .+\ncause: .+\nhint: .+\n$/);
    expect(stderr).not.toContain(TOKEN);
  });

  it("refuses empty standard input", () => {
    expect(allocate("-", { input: "" })).toMatchObject({ status: 2, stdout: "" });
  });
});
