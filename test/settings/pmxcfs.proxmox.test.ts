import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { readSettings } from "../../src/settings/load.js";
import { settingsPathOf } from "../../src/settings/paths.js";
import { saveSettings } from "../../src/settings/save.js";
import { bundle, trace } from "../fs/strace.js";
import { temporaryDirectory } from "../fs/tree.js";
import { type FakePmxcfs, startFakePmxcfs } from "../lab/pmxcfs.js";

const runner = new ExecaCommandRunner();
const WARN = '{"version":1,"logLevel":"warn"}';
const DEBUG = '{"version":1,"logLevel":"debug"}';

let pmxcfs: FakePmxcfs;
let here: string;
let there: string;
let count = 0;

beforeAll(async () => {
  pmxcfs = await startFakePmxcfs(2);
});
afterAll(async () => {
  await pmxcfs[Symbol.asyncDispose]();
});
beforeEach(() => {
  const name = `luksmith-${count++}/settings.json`;
  [here = "", there = ""] = pmxcfs.nodes.map((node) => join(node, name));
});

describe("settings on /etc/pve", () => {
  it("are where Proxmox VE shows them to every node", () => {
    expect(settingsPathOf("proxmox")).toBe("/etc/pve/luksmith/settings.json");
  });

  it("are saved with the file system's own mode, which others than root cannot write", async () => {
    const digest = await saveSettings(WARN, { runner, path: here });
    expect(readSettings(there)).toMatchObject({ text: WARN, digest });
    expect(statSync(there).mode & 0o777).toBe(0o640);
    expect(readdirSync(join(there, ".."))).toEqual(["settings.json"]);
  });

  it("go on from what was read, whichever node has changed them", async () => {
    const digest = await saveSettings(WARN, { runner, path: here });
    await saveSettings(DEBUG, { runner, path: there, expectedDigest: digest });
    await expect(saveSettings(WARN, { runner, path: here, expectedDigest: digest })).rejects.toMatchObject({
      code: "SETTINGS_CHANGED",
    });
    expect(readSettings(here).text).toBe(DEBUG);
  });

  it("are read whole right after another node has made them longer", async () => {
    await saveSettings(WARN, { runner, path: here });
    // the kernel there knows the size from now on, for a second
    statSync(there);
    const long = JSON.stringify({ version: 1, logFile: `/var/log/${"x".repeat(3000)}` });
    await saveSettings(long, { runner, path: here });
    expect(readSettings(there).text).toBe(long);
  });

  it.each(["no-quorum", "database-failed"] as const)("stay as they are: %s", async (writing) => {
    await saveSettings(WARN, { runner, path: here });
    pmxcfs.set(writing);
    try {
      const refused = expect(saveSettings(DEBUG, { runner, path: there })).rejects;
      await refused.toMatchObject({ code: "SETTINGS_UNWRITABLE" });
      expect(readSettings(there).text).toBe(WARN);
    } finally {
      pmxcfs.set("writable");
    }
    await saveSettings(DEBUG, { runner, path: there });
    expect(readSettings(here).text).toBe(DEBUG);
  });

  it("say what a cluster without quorum wants", async () => {
    pmxcfs.set("no-quorum");
    try {
      await expect(saveSettings(DEBUG, { runner, path: here })).rejects.toMatchObject({
        hint: expect.stringContaining("pvecm status") as string,
      });
    } finally {
      pmxcfs.set("writable");
    }
  });

  it("are whole for every node, whatever call a save is killed at", async () => {
    const scratch = temporaryDirectory();
    const driver = await bundle(new URL("save-driver.ts", import.meta.url).pathname, scratch);
    const digest = await saveSettings(WARN, { runner, path: here });
    const run = (fault?: { name: string; n: number; effect: string }) =>
      trace([driver, here, digest, DEBUG], {
        watched: join(here, ".."),
        log: join(scratch, "log"),
        follow: "main thread",
        ...(fault === undefined ? {} : { fault }),
      });
    const { calls, printed } = await run();
    expect(printed).toBe("saved");
    expect(calls.length).toBeGreaterThan(4);
    for (const call of calls) {
      await saveSettings(WARN, { runner, path: here });
      await run({ ...call, effect: "signal=KILL" });
      expect([WARN, DEBUG], `killed at ${call.name} ${call.n}`).toContain(readFileSync(there, "utf8"));
    }
    await saveSettings(WARN, { runner, path: here });
    expect(readdirSync(join(there, ".."))).toEqual(["settings.json"]);
  });
});
