import type { Command } from "commander";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createProgram } from "../../src/cli/program.js";

/** The part of the page under each heading of level two. */
const sections = new Map(
  readFileSync("docs/cli.md", "utf8")
    .split(/^## /m)
    .slice(1)
    .map((section): [string, string] => [section.split("\n", 1)[0]!, section]),
);

/** The commands that do something, by the words that call them. */
function commandsOf(command: Command, path: readonly string[]): [string, Command][] {
  if (command.commands.length === 0) return [[path.join(" "), command]];
  return command.commands.flatMap((child) => commandsOf(child, [...path, child.name()]));
}

const commands = commandsOf(createProgram(), []);

test("docs/cli.md has a section for each command, and for no other", () => {
  const names = commands.map(([name]) => name);

  expect([...sections.keys()].filter((title) => title !== "Files").sort()).toEqual(names.sort());
});

describe.each(commands)("docs/cli.md on %s", (name, command) => {
  const text = sections.get(name) ?? "";
  const options = command.options.flatMap(({ long }) => long ?? []);

  test("names each option, and no other", () => {
    const ours = text.replaceAll(/\bvirsh [^`\n]*/g, "");
    const named = new Set(ours.match(/--[a-z][a-z-]*/g));
    const missing = options.filter((option) => !named.has(option));
    const unknown = [...named].filter((option) => !options.includes(option));

    expect({ missing, unknown }).toEqual({ missing: [], unknown: [] });
  });

  test("shows how it is called", () => {
    expect(text).toContain(`\nluksmith ${name}`);
    for (const argument of command.registeredArguments) expect(text).toContain(argument.name().toUpperCase());
  });
});
