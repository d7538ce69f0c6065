import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createProgram } from "../../src/cli/program.js";

let script = "";

beforeEach(() => {
  script = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => (script += String(text)) !== "");
});
afterEach(() => vi.restoreAllMocks());

const print = (shell: string) => createProgram().parseAsync(["node", "luksmith", "completion", shell]);

/** What bash offers for the last of these words. */
function complete(...words: string[]): string[] {
  const line = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _luksmith; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync("bash", ["-c", `${script}\n${line}`, "bash", ...words], { encoding: "utf8" });
  return output.split("\n").filter((word) => word !== "");
}

describe("completion for bash", () => {
  beforeEach(() => print("bash"));

  it.each<[line: string[], offered: string[]]>([
    [["luksmith", "pro"], ["protect"]],
    [
      ["luksmith", "settings", "s"],
      ["set", "schema"],
    ],
    [
      ["luksmith", "protect", "web1", "--d"],
      ["--disk", "--dry-run"],
    ],
    [
      ["luksmith", "settings", "set", "--"],
      ["--digest", "--dry-run"],
    ],
    [["luksmith", "keys", ""], ["list"]],
    [["luksmith", "protect", "status", "--n"], ["--now"]],
  ])("%j offers %j", (line, offered) => {
    expect(complete(...line).sort()).toEqual(offered.sort());
  });

  it("offers every command", () => {
    const commands = createProgram().commands.map((command) => command.name());
    expect(complete("luksmith", "")).toEqual(expect.arrayContaining(commands));
  });
});

describe.each(["zsh", "fish"])("completion for %s", (shell) => {
  it("names every command and option", async () => {
    await print(shell);
    for (const word of ["protect", "dry-run", "uninstall", "digest", "schema"])
      expect(script).toContain(word);
  });
});
