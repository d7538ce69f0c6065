import { spawnSync } from "node:child_process";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { manPage } from "../../.config/package/man-page.js";
import { createProgram } from "../../src/cli/program.js";

/** The page as people read it; groff says on stderr what it did not understand. */
function read(page: string): string {
  const { stdout, stderr } = spawnSync("groff", ["-man", "-Tutf8", "-ww", "-P-cbou"], {
    input: page,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return stdout.replaceAll(/\s+/g, " ");
}

/** What one types for each command that the help shows and that does something by itself. */
function* titlesOf(command: Command, path: string): Generator<string> {
  for (const child of command.createHelp().visibleCommands(command)) {
    if (child.name() === "help") continue;
    const title = `${path} ${child.name()}`.trim();
    if (child.commands.length === 0) yield title;
    else yield* titlesOf(child, title);
  }
}

describe("the manual page", () => {
  it("has every command that the help shows, with its options, and no hidden one", () => {
    const page = read(manPage(createProgram(), "1.2.3"));
    const titles = [...titlesOf(createProgram(), "")];

    expect(titles).toContain("keys list");
    expect(titles.filter((title) => !page.includes(` ${title} `))).toEqual([]);
    expect(page).toContain("--host <manager>");
    expect(page).not.toContain("settle");
    expect(page).toMatch(/EXIT STATUS 0 done 1 failed/);
    expect(page).toContain("Luksmith 1.2.3");
  });

  it("takes no character of a description for a request", () => {
    const program = new Command("luksmith").description("one");
    program.addCommand(new Command("odd").description('.SH hidden\n\'quote \\fBbold "x" --y'));

    expect(read(manPage(program, "1"))).toContain('.SH hidden \'quote \\fBbold "x" --y');
  });
});
