import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { print, printJson, printTable } from "../../src/cli/output.js";
import validateVersion from "../../src/generated/validate-version.cjs";

const printed: string[] = [];

beforeEach(() => {
  printed.length = 0;
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0);
});
afterEach(() => vi.restoreAllMocks());

describe("a table", () => {
  it("has columns as wide as their widest cell, and no space at the ends of lines", () => {
    printTable(
      ["guest", "disk"],
      [
        ["a", "vda"],
        ["longer-name", ""],
      ],
    );
    expect(printed.join("")).toBe("GUEST        DISK\na            vda\nlonger-name\n");
  });
});

describe("text for a person", () => {
  it("cannot steer the terminal, whatever a guest is called", () => {
    print("guest \u001b[31mred\u202e\nnext line");
    expect(printed.join("")).toBe("guest \\u{1b}[31mred\\u{202e}\nnext line\n");
  });
});

describe("output for a machine", () => {
  it("is one JSON document that its schema allows", () => {
    printJson(validateVersion, { version: "1.2.3", apiVersion: 1, node: "20.0.0" });
    expect(JSON.parse(printed.join(""))).toEqual({ version: "1.2.3", apiVersion: 1, node: "20.0.0" });
  });

  it("is never printed when its schema does not allow it", () => {
    expect(() => printJson(validateVersion, { version: "1.2.3", colour: "blue" })).toThrow(
      /does not match its schema/,
    );
    expect(printed).toEqual([]);
  });

  it("keeps every character of a name, escaped where a terminal could take it for a command", () => {
    const output = { version: "\u001b[31m", apiVersion: 1, node: "\u202e\u{e0001} 👨\u200d👩" };
    printJson(validateVersion, output);
    expect(printed.join("")).toMatch(/^[\P{C}\n]*$/u);
    expect(JSON.parse(printed.join(""))).toEqual(output);
  });
});
