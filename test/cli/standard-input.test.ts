import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { commandLine } from "./luksmith.js";

/** `luksmith settings set --dry-run` behind a pipe out of this shell command. */
function behind(command: string) {
  const line = commandLine(["settings", "set", "--dry-run"]);
  const { status, stderr } = spawnSync("sh", ["-c", `(${command}) | "$@"`, "sh", ...line], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { status, stderr };
}

describe("standard input", () => {
  it("is read to its end, in whatever parts it comes", () => {
    const parts = `printf '{'; sleep 0.1; head -c 900000 /dev/zero | tr '\\0' ' '; printf '"version": 1}'`;
    expect(behind(parts)).toEqual({ status: 0, stderr: "" });
  });

  it("of more than any file of luksmith has is refused", () => {
    expect(behind("head -c 68000000 /dev/zero")).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^error: more than 64 MiB came on standard input$/m) as string,
    });
  });
});
