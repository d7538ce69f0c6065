import { closeSync, openSync } from "node:fs";
import { describe, expect, it } from "vitest";
import validate from "../../src/generated/validate-error.cjs";
import { luksmith } from "./luksmith.js";

describe("an error with --json", () => {
  it.each<[line: string, as: "nobody" | undefined, code: string, status: number]>([
    ["status --json", "nobody", "NOT_PERMITTED", 6],
    ["plan --json pre-stop web1", undefined, "USAGE", 2],
    ["version --json --no-such-option", undefined, "USAGE", 2],
    ["settings set --json", undefined, "USAGE", 2],
    ["settings --json", undefined, "USAGE", 2],
  ])("%s is an object on stdout besides the text on stderr", (line, as, code, status) => {
    const { stdout, stderr, ...rest } = luksmith(line.split(" "), as && { as });

    const output: unknown = JSON.parse(stdout);
    expect(rest).toEqual({ status });
    expect(validate(output)).toBe(true);
    expect(output).toMatchObject({ error: { code, what: expect.stringMatching(/^[^(]/) as string } });
    expect(stderr).not.toBe("");
  });

  it("has what the text has", () => {
    const { stdout, stderr } = luksmith(["keys", "list", "--json"], { as: "nobody" });
    const { error } = JSON.parse(stdout) as { error: Record<"what" | "why" | "hint", string> };

    expect(stderr).toBe(`error: ${error.what}\ncause: ${error.why}\nhint: ${error.hint}\n`);
  });
});

it.each(["keys list", "status -- --json"])("stdout is empty where %s fails", (line) => {
  expect(luksmith(line.split(" "), { as: "nobody" })).toMatchObject({ status: 6, stdout: "" });
});

it("says that its output cannot be written, and fails", () => {
  const full = openSync("/dev/full", "w");
  try {
    const { status, stderr } = luksmith(["version"], { stdio: ["ignore", full, "pipe"] });

    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: cannot write the output\ncause: .+\n$/);
  } finally {
    closeSync(full);
  }
});
