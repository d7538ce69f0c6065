import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { guestWord, protectCommand } from "../../src/plan/commands.js";

const ID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";

describe("a guest in a command to paste", () => {
  it.each([
    ["web1", "web1"],
    ["my guest", "'my guest'"],
    ["-rf", ID],
    ["7", ID],
    ["c1d0ee4f-6058-494e-b0f2-feb87e6e5eaf", ID],
    ["C1D0EE4F-6058-494E-B0F2-FEB87E6E5EAF", ID],
    ["bell\u0007", ID],
    ["right\u202eto left", ID],
  ])("called %j is %s", (name, word) => {
    expect(guestWord({ id: ID, name })).toBe(word);
  });

  it("and its disks are one word each to a shell", () => {
    const command = protectCommand({ id: ID, name: 'it\'s $(x); `y` "z" \\ ✓' }, ["vda", "vdb"]);
    const words = execFileSync("sh", ["-c", `luksmith() { printf '%s\\n' "$@"; }\n${command}`], {
      encoding: "utf8",
    });
    expect(words.split("\n")).toEqual([
      ...["protect", 'it\'s $(x); `y` "z" \\ ✓', "--disk", "vda", "--disk", "vdb", ""],
    ]);
  });
});
