import { execFileSync } from "node:child_process";
import type { Command } from "commander";
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

/** Commands that only Luksmith itself and the host manager's plugin call. */
const NOT_FOR_PEOPLE = ["settle", "bridge"];

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
      ["--digest", "--dry-run", "--json"],
    ],
    [
      ["luksmith", "keys", ""],
      ["delete", "export", "former", "import", "list", "migrate", "show"],
    ],
    [["luksmith", "protect", "status", "--n"], ["--now"]],
    [
      ["luksmith", "plan", ""],
      ["--json", "post-stop", "pre-migrate", "pre-start"],
    ],
    [
      ["luksmith", "plan", "--json", "pre-"],
      ["pre-migrate", "pre-start"],
    ],
    [["luksmith", "plan", "pre-start", ""], ["--json"]],
    [
      ["luksmith", "completion", ""],
      ["bash", "fish", "zsh"],
    ],
    [
      ["luksmith", "install", "--host", ""],
      ["libvirt", "proxmox"],
    ],
    [
      ["luksmith", "install", "--host", "libvirt", ""],
      ["--dry-run", "--host"],
    ],
    // what these are nobody can know here
    [["luksmith", "protect", "web1", "--disk", ""], []],
    [["luksmith", "settings", "set", "--digest", ""], []],
  ])("%j offers %j", (line, offered) => {
    expect(complete(...line).sort()).toEqual(offered.sort());
  });

  it("offers every command but those that are not for people", () => {
    const commands = createProgram().commands.map((command) => command.name());
    const offered = complete("luksmith", "");
    expect(offered).toEqual(
      expect.arrayContaining(commands.filter((name) => !NOT_FOR_PEOPLE.includes(name))),
    );
    for (const name of NOT_FOR_PEOPLE) {
      expect(offered).not.toContain(name);
      expect(script).not.toMatch(new RegExp(`\\b${name}\\b`));
    }
  });
});

describe("completion for fish", () => {
  beforeEach(() => print("fish"));

  it("is made of words that fish reads as they were meant", () => {
    const lines = script.trimEnd().split("\n").map(fishWords);
    const described = lines.flatMap((words) => words.slice(words.indexOf("-d") + 1).slice(0, 1));

    expect(lines.every((words) => words[0] === "complete" && words.includes("-n"))).toBe(true);
    for (const { summary } of everyCommand(createProgram())) expect(described).toContain(summary);
    for (const name of NOT_FOR_PEOPLE) expect(script).not.toMatch(new RegExp(`\\b${name}\\b`));
    expect(described).toContain("encrypt a guest's disks");
  });

  it.each([
    [
      "__fish_seen_subcommand_from plan; and not __fish_seen_subcommand_from",
      "pre-start post-stop pre-migrate",
    ],
    ["__fish_seen_subcommand_from completion; and not __fish_seen_subcommand_from", "bash fish zsh"],
    ["__fish_seen_subcommand_from uninstall", "libvirt proxmox"],
  ])("offers after %j: %s", (condition, choices) => {
    const offers = script
      .trimEnd()
      .split("\n")
      .map(fishWords)
      .filter((words) => words.includes(choices));

    expect(offers.map((words) => words[words.indexOf("-n") + 1])).toContainEqual(
      expect.stringContaining(condition),
    );
  });
});

describe.each(["zsh", "fish"])("completion for %s", (shell) => {
  it("names every command and option", async () => {
    await print(shell);
    for (const word of ["protect", "dry-run", "uninstall", "digest", "schema"])
      expect(script).toContain(word);
  });
});

function everyCommand(command: Command): { readonly summary: string }[] {
  return command.commands
    .filter((child) => !NOT_FOR_PEOPLE.includes(child.name()))
    .flatMap((child) => [{ summary: child.summary() }, ...everyCommand(child)]);
}

/** The words of a line, by fish's rules for single quotes: in them a backslash escapes itself and the quote only. */
function fishWords(line: string): string[] {
  expect(line).toMatch(/^(?: *(?:[^\s'"\\$;&|<>()]+|'(?:\\[\\']|[^'\\])*'))+$/);
  return [...line.matchAll(/'((?:\\[\\']|[^'\\])*)'|[^\s']+/g)].map(
    ([word, inside]) => inside?.replace(/\\(.)/g, "$1") ?? word,
  );
}
