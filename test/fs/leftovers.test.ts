import { spawnSync } from "node:child_process";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { removeLeftovers, temporaryName } from "../../src/fs/leftovers.js";
import { temporaryDirectory, treeOf } from "./tree.js";

const RANDOM = "0123456789abcdef";

/** The id of a process that has ended. */
function deadPid(): number {
  return spawnSync("true").pid;
}

function directoryWith(...names: string[]): string {
  const directory = temporaryDirectory();
  for (const name of names) writeFileSync(join(directory, name), "");
  return directory;
}

describe("leftovers of killed writes", () => {
  it("are removed when their process is gone", () => {
    const directory = directoryWith(`.key.json.${deadPid()}.${RANDOM}.tmp`);
    removeLeftovers(directory);
    expect(treeOf(directory)).toEqual({});
  });

  it("stay while their process may be writing, for an hour", () => {
    const name = temporaryName("key.json", RANDOM);
    const directory = directoryWith(name, `.key.json.1.${RANDOM}.tmp`);
    removeLeftovers(directory);
    expect(Object.keys(treeOf(directory))).toHaveLength(2);
    const anHourAgo = Date.now() / 1000 - 3601;
    utimesSync(join(directory, name), anHourAgo, anHourAgo);
    removeLeftovers(directory);
    expect(Object.keys(treeOf(directory))).toEqual([`.key.json.1.${RANDOM}.tmp`]);
  });

  it("are removed when this host has started anew since, whoever has the process id now", () => {
    const now = temporaryName("key.json", RANDOM);
    const [, boot = ""] = /-([0-9a-f]{8})-/.exec(now) ?? [];
    const before = now.replace(`-${boot}-`, `-${boot === "00000000" ? "11111111" : "00000000"}-`);
    const elsewhere = before.replace(/\.[0-9a-f]{8}-/, ".ffffffff-");
    const directory = directoryWith(now, before, elsewhere);
    removeLeftovers(directory);
    expect(Object.keys(treeOf(directory)).sort()).toEqual([elsewhere, now].sort());
  });

  it("are told from everything else", () => {
    const pid = deadPid();
    const others = [
      `key.json.${pid}.${RANDOM}.tmp`,
      `.key.json.${pid}.${RANDOM}.tmp.bak`,
      `.key.json.${pid}.${RANDOM.slice(1)}.tmp`,
      `.key.json.${pid}.${RANDOM.toUpperCase()}.tmp`,
      `.key.json.x${pid}.${RANDOM}.tmp`,
      `.key.json..${RANDOM}.tmp`,
      ".tmp",
      "key.json",
    ];
    const directory = directoryWith(...others);
    mkdirSync(join(directory, `.directory.${pid}.${RANDOM}.tmp`));
    const before = treeOf(directory);
    removeLeftovers(directory);
    expect(treeOf(directory)).toEqual(before);
  });
});
