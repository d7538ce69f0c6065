import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { parseSettings, readSettings } from "../../src/settings/load.js";
import { saveSettings } from "../../src/settings/save.js";
import { smallDisk } from "../fs/small-disk.js";
import { bundle, trace } from "../fs/strace.js";
import { temporaryDirectory, treeOf } from "../fs/tree.js";

const runner = new ExecaCommandRunner();
const WARN = '{"version":1,"logLevel":"warn"}';
const DEBUG = '{"version":1,"logLevel":"debug"}';
const changed = { code: "SETTINGS_CHANGED" };

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,20}$/);
const absolute = fc.string({ unit: "grapheme" }).map((text) => `/${text}`);
const anySettings = fc
  .record({
    keystores: fc.uniqueArray(name, { minLength: 1, maxLength: 3 }),
    profiles: fc.uniqueArray(name, { maxLength: 3 }),
  })
  .chain(({ keystores, profiles }) => {
    const names = ["default", ...profiles.filter((profile) => profile !== "default")];
    return fc.record(
      {
        version: fc.constant(1),
        keystores: fc.tuple(
          ...keystores.map((keystore) =>
            fc.record(
              { name: fc.constant(keystore), type: fc.constant("file"), directory: absolute },
              { requiredKeys: ["name", "type"] },
            ),
          ),
        ),
        profiles: fc.tuple(
          ...names.map((profile) =>
            fc.record(
              {
                name: fc.constant(profile),
                hash: fc.constantFrom("sha256", "sha512"),
                keystore: fc.constantFrom(...keystores),
              },
              { requiredKeys: ["name", "keystore"] },
            ),
          ),
        ),
        rules: fc.uniqueArray(
          fc.record(
            {
              name,
              guest: fc.string({ minLength: 1, unit: "grapheme" }),
              encrypt: fc.boolean(),
              profile: fc.constantFrom(...names),
            },
            { requiredKeys: ["name"] },
          ),
          { selector: (rule) => rule.name, maxLength: 3 },
        ),
        logFile: absolute,
      },
      { requiredKeys: ["version", "keystores", "profiles"] },
    );
  });

describe("saving settings", () => {
  it("keeps every text as it is, and what it means", async () => {
    const path = join(temporaryDirectory(), "settings.json");
    await fc.assert(
      fc.asyncProperty(anySettings, fc.constantFrom(0, 2, "\t"), async (settings, indent) => {
        const text = `${JSON.stringify(settings, undefined, indent)}\n`;
        const digest = await saveSettings(text, { runner, path });
        expect(readSettings(path)).toEqual({ settings: parseSettings(text, "test"), text, digest });
        expect(readSettings(path).settings).toMatchObject(settings);
      }),
      { numRuns: 25 },
    );
  });

  it("makes the directory, and a file that all may read and root may write", async () => {
    const parent = temporaryDirectory();
    const path = join(parent, "etc/luksmith/settings.json");
    await saveSettings(WARN, { runner, path });
    expect(treeOf(parent)).toMatchObject({
      etc: "755",
      "etc/luksmith/settings.json": expect.stringMatching(/^644 /) as string,
    });
  });

  it("goes on from what was read, and refuses when that has changed", async () => {
    const path = join(temporaryDirectory(), "settings.json");
    const missing = readSettings(path).digest;
    const first = await saveSettings(WARN, { runner, path, expectedDigest: missing });
    expect(first).toBe(readSettings(path).digest);
    await expect(saveSettings(DEBUG, { runner, path, expectedDigest: missing })).rejects.toMatchObject(
      changed,
    );
    expect(readFileSync(path, "utf8")).toBe(WARN);
    await saveSettings(DEBUG, { runner, path, expectedDigest: first });
    await expect(saveSettings(WARN, { runner, path, expectedDigest: first })).rejects.toMatchObject(changed);
    expect(readFileSync(path, "utf8")).toBe(DEBUG);
    await saveSettings(WARN, { runner, path });
    expect(readFileSync(path, "utf8")).toBe(WARN);
  });

  it("lets one of many win that change the same settings at once", async () => {
    const path = join(temporaryDirectory(), "settings.json");
    const expectedDigest = await saveSettings(WARN, { runner, path });
    const texts = Array.from({ length: 8 }, (_, i) => JSON.stringify({ version: 1, logFile: `/log/${i}` }));
    const results = await Promise.allSettled(
      texts.map((text) => saveSettings(text, { runner, path, expectedDigest })),
    );
    const winners = texts.filter((_, index) => results[index]?.status === "fulfilled");
    expect(winners).toEqual([readFileSync(path, "utf8")]);
    for (const result of results)
      if (result.status === "rejected") expect(result.reason).toMatchObject(changed);
  });

  it("lets one of two processes win that have both seen the old settings", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "settings/settings.json");
    const expectedDigest = await saveSettings(WARN, { runner, path });
    const driver = await bundle(new URL("save-driver.ts", import.meta.url).pathname, directory);
    const outcomes = await Promise.all(
      [0, 1].map((index) =>
        trace([driver, path, expectedDigest, DEBUG], {
          watched: path,
          log: join(directory, `log${index}`),
          // without a lock, both would have compared the digest by now
          fault: { name: "rename", n: 1, effect: "delay_enter=400000" },
        }),
      ),
    );
    expect(outcomes.map(({ printed }) => printed).sort()).toEqual(["SETTINGS_CHANGED", "saved"]);
    expect(readFileSync(path, "utf8")).toBe(DEBUG);
  });

  it("writes nothing that would not load", async () => {
    const path = join(temporaryDirectory(), "settings.json");
    await saveSettings(WARN, { runner, path });
    for (const text of [
      "",
      "{",
      "{}",
      '{"version":1,"logLevel":"loud"}',
      '{"version":1,"rules":[{"name":"r","profile":"?"}]}',
    ]) {
      await expect(saveSettings(text, { runner, path })).rejects.toMatchObject({ code: "SETTINGS_INVALID" });
    }
    expect(readFileSync(path, "utf8")).toBe(WARN);
  });

  it.each(["bytes", "inodes"] as const)("leaves the old settings when there are no %s left", async (what) => {
    const disk = smallDisk();
    mkdirSync(join(disk.path, "etc"));
    const path = join(disk.path, "etc/settings.json");
    await saveSettings(WARN, { runner, path });
    const before = treeOf(join(disk.path, "etc"));
    disk.fill(what);
    const failed = { code: "SETTINGS_UNWRITABLE" };
    await expect(saveSettings(DEBUG, { runner, path })).rejects.toMatchObject(failed);
    disk.remount("ro");
    await expect(saveSettings(DEBUG, { runner, path })).rejects.toMatchObject(failed);
    expect(treeOf(join(disk.path, "etc"))).toEqual(before);
  });

  it("does not go on from a file that others may write, but replaces it by a safe one", async () => {
    const path = join(temporaryDirectory(), "settings.json");
    const expectedDigest = await saveSettings(WARN, { runner, path });
    chmodSync(path, 0o666);
    const unsafe = { code: "PERMISSIONS_UNSAFE" };
    await expect(saveSettings(DEBUG, { runner, path, expectedDigest })).rejects.toMatchObject(unsafe);
    await saveSettings(DEBUG, { runner, path });
    expect(readSettings(path).text).toBe(DEBUG);
  });

  it("removes what killed saves left", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "settings.json");
    writeFileSync(join(directory, `.settings.json.${spawnSync("true").pid}.0123456789abcdef.tmp`), "{");
    await saveSettings(WARN, { runner, path });
    expect(Object.keys(treeOf(directory))).toEqual(["settings.json"]);
  });
});
