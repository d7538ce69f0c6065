import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { createProgram } from "../../src/cli/program.js";

function* everyCommand(command: Command, path = "luksmith"): Generator<[path: string, Command]> {
  for (const child of command.commands) {
    yield [`${path} ${child.name()}`, child];
    yield* everyCommand(child, `${path} ${child.name()}`);
  }
}

const ALL = [...everyCommand(createProgram())];
const longOptions = (command: Command) => command.options.map(({ long }) => long);

describe("the command line", () => {
  it.each(ALL)("%s says in its summary what it does", (_, command) => {
    expect(command.summary()).toMatch(/^[a-z].*[^.]$/);
  });

  it.each(ALL.filter(([path]) => / (?:settings|keys)\b/.test(path)))(
    "%s says in its help what it does",
    (_, command) => {
      expect(command.description()).toMatch(/^[A-Z]/);
    },
  );

  it.each([
    "status",
    "plan",
    "migrate-check",
    "settings get",
    "settings test",
    "keys list",
    "keys show",
    "capabilities",
    "doctor",
    "version",
  ])("%s, which only reads, has --json", (path) => {
    const [, command] = ALL.find(([name]) => name === `luksmith ${path}`)!;
    expect(longOptions(command)).toContain("--json");
  });

  it.each([
    "install",
    "uninstall",
    "protect",
    "allocate",
    "grow",
    "settings set",
    "keys migrate",
    "keys import",
    "keys delete",
    "reap",
  ])("%s, which changes something, has --dry-run", (path) => {
    const [, command] = ALL.find(([name]) => name === `luksmith ${path}`)!;
    expect(longOptions(command)).toContain("--dry-run");
  });

  it("tells the exit codes in its help", () => {
    let help = "";
    const program = createProgram().configureOutput({ writeOut: (text) => (help += text) });
    expect(() => program.parse(["node", "luksmith", "--help"])).toThrow();
    for (const code of [0, 1, 2, 3, 4, 5, 6]) expect(help).toMatch(new RegExp(`^ +${code} +[a-z]`, "m"));
  });
});
