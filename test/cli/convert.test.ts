import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { WATCHER } from "../../src/cli/percent-progress.js";
import { temporaryDirectory } from "../fs/tree.js";
import { luksmith } from "./luksmith.js";

afterEach(() => vi.restoreAllMocks());

/** Where nothing but the command line is looked at. */
function adopt(keyFile: string, ...more: readonly string[]) {
  return luksmith([
    "adopt",
    "web1",
    "vda",
    "--volume",
    "/dev/vg/vm1",
    "--key-file",
    keyFile,
    "--dry-run",
    ...more,
  ]);
}

describe("luksmith adopt", () => {
  test("reads a key from nothing but a file for root alone", () => {
    const path = join(temporaryDirectory(), "key");
    expect(adopt(path)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("there is no such file") as string,
    });
    writeFileSync(path, "0".repeat(128), { mode: 0o600 });
    chmodSync(path, 0o644);
    expect(adopt(path)).toMatchObject({ status: 6, stderr: expect.stringContaining("chmod 0600") as string });
  });

  test("never shows the key", () => {
    const path = join(temporaryDirectory(), "key");
    writeFileSync(path, `${"c0ffee".repeat(21)}zz`, { mode: 0o600 });
    const { status, stdout, stderr } = adopt(path);

    expect(status).toBe(2);
    expect(stdout + stderr).not.toContain("c0ffee");
  });

  test("takes no form of key but those that it names", () => {
    expect(adopt("/root/key", "--key-form", "base64").status).toBe(2);
  });
});

describe("a long task", () => {
  /** What is written to standard error. */
  function shown(isTerminal: boolean): string {
    const written: string[] = [];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => written.push(String(text)) > 0);
    const before = process.stderr.isTTY;
    process.stderr.isTTY = isTerminal;
    try {
      using task = WATCHER.begin("copying");
      for (const percent of [0, 3, 11, 12, 40, 100]) task.percent(percent);
    } finally {
      process.stderr.isTTY = before;
    }
    return written.join("");
  }

  test("is a line for each ten percent where nobody watches", () => {
    expect(shown(false)).toBe("copying: 10 %\ncopying: 40 %\ncopying: 100 %\n");
  });

  test("is one line that changes on a terminal, and leaves nothing there", () => {
    const lines = shown(true).split("\r\u001b[K");

    expect(lines.slice(1, 3)).toEqual([
      expect.stringMatching(/^copying: \[\.{24}\] 0 %$/),
      expect.stringMatching(/^copying: \[#\.{23}\] 3 %/),
    ]);
    expect(lines.at(-1)).toBe("");
  });
});
