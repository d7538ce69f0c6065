import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { currentActor } from "../../src/audit/actor.js";
import { userNames } from "../../src/audit/user-names.js";
import { createProgram } from "../../src/cli/program.js";

it.each([
  [
    ["/usr/bin/node", "/opt/luksmith/dist/hooks/pre-start.js", "libvirt", "web", "prepare"],
    "pre-start libvirt",
  ],
  [["/usr/bin/node", "/opt/luksmith/dist/hooks/post-stop.js", "proxmox", "101"], "post-stop proxmox"],
  [["/usr/bin/node", "/opt/luksmith/dist/cli/luksmith.js", "drill", "web"], "luksmith"],
  [[], "luksmith"],
])("%j is called %s, without its guest", (argv, command) => {
  expect(currentActor(argv).command).toBe(command);
});

it("a command is called by its own names, and not by the guest's", async () => {
  const program = createProgram();
  for (const path of [["audit", "show"], ["drill"]]) {
    const command = path.reduce(
      (parent, name) => parent.commands.find((one) => one.name() === name)!,
      program,
    );
    command.action(() => undefined);
    await program.parseAsync(["node", "luksmith.js", ...path, ...(path[0] === "drill" ? ["web"] : [])]);
    expect(currentActor().command).toBe(["luksmith", ...path].join(" "));
  }
});

it("users have the names of the host's own list, the first one for a number", () => {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-users-"));
  try {
    const file = join(directory, "passwd");
    writeFileSync(file, "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n+@nis\nann:x:1000:1000:::\n");
    expect([...userNames(file)]).toEqual([
      [0, "root"],
      [1000, "ann"],
    ]);
    expect(userNames(join(directory, "none")).size).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
