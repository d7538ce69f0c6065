import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { takeApart } from "../../src/settings/given.js";
import { readSettings } from "../../src/settings/load.js";
import { secretsDirectoryOf } from "../../src/settings/paths.js";
import { saveSettings } from "../../src/settings/save.js";
import { secretsSetIn, storedIn } from "../../src/settings/stored.js";
import { smallDisk } from "../fs/small-disk.js";
import { bundle, trace } from "../fs/strace.js";
import { temporaryDirectory, treeOf } from "../fs/tree.js";

const runner = new ExecaCommandRunner();

function textWith(auth: object, name = "hq"): string {
  const keystore = { name, type: "vault", url: "https://vault.example:8200", auth };
  return JSON.stringify({ version: 1, keystores: [keystore] });
}

/** Settings with this token in them. */
const withToken = (token: string) => textWith({ method: "token", token });
const withPin = (pin: string, protector: object = {}) =>
  JSON.stringify({
    version: 1,
    keystores: [
      {
        ...{ name: "f", type: "file" },
        protector: { type: "pkcs11", module: "/hsm.so", token: "t", key: "k", pin, ...protector },
      },
    ],
  });

async function save(path: string, text: string, expectedDigest?: string): Promise<string> {
  using given = takeApart(text, "test", secretsDirectoryOf(path));
  return await saveSettings(given, { runner, path, ...(expectedDigest !== undefined && { expectedDigest }) });
}

/** What a keystore would read as its token. */
function tokenOf(path: string): string {
  const [keystore] = readSettings(path).settings.keystores;
  if (keystore.type !== "vault" || keystore.auth.method !== "token") throw new Error("not saved");
  return readFileSync(keystore.auth.tokenFile, "utf8");
}

function secretsBeside(path: string): string[] {
  return filesBeside(path).filter((name) => !name.endsWith(".unused"));
}

function filesBeside(path: string): string[] {
  return readdirSync(secretsDirectoryOf(path)).sort();
}

/** Saves the same once more when all that is unused has been so for `seconds`. */
async function saveLater(path: string, seconds = 3601): Promise<void> {
  const then = Date.now() / 1000 - seconds;
  for (const name of filesBeside(path).filter((one) => one.endsWith(".unused")))
    utimesSync(join(secretsDirectoryOf(path), name), then, then);
  await save(path, readSettings(path).text);
}

const place = () => join(temporaryDirectory(), "settings.json");

describe("saving secrets", () => {
  it("writes each to a file of its own that only root reads, and names it in the settings", async () => {
    const path = place();
    await save(path, withToken("first"));
    expect(tokenOf(path)).toBe("first");
    expect(readSettings(path).text).not.toContain("first");
    const [name = ""] = secretsBeside(path);
    const tree = treeOf(join(path, ".."));
    expect(tree["secrets"]).toBe("700");
    expect(tree[`secrets/${name}`]).toMatch(/^600 /);
    expect(secretsSetIn(storedIn(readSettings(path).text), secretsDirectoryOf(path))).toEqual([
      "/keystores/0/auth/token",
    ]);
  });

  it("keeps the secret of settings that come back as they are stored", async () => {
    const path = place();
    await save(path, withToken("first"));
    const before = secretsBeside(path);
    const { text, digest } = readSettings(path);
    await save(path, JSON.stringify(JSON.parse(text)), digest);
    expect([tokenOf(path), secretsBeside(path)]).toEqual(["first", before]);
  });

  it("replaces a secret by a new file, and drops the old one an hour later, however old that is", async () => {
    const path = place();
    await save(path, withToken("first"));
    const [first = ""] = filesBeside(path);
    const longAgo = Date.now() / 1000 - 1_000_000;
    utimesSync(join(secretsDirectoryOf(path), first), longAgo, longAgo);
    await save(path, withToken("second"));
    expect(tokenOf(path)).toBe("second");
    // who has read the former settings logs in by it
    expect(readFileSync(join(secretsDirectoryOf(path), first), "utf8")).toBe("first");
    await saveLater(path, 3500);
    expect(secretsBeside(path)).toContain(first);
    await saveLater(path);
    expect(filesBeside(path)).toHaveLength(1);
    expect(tokenOf(path)).toBe("second");
  });

  it("keeps a secret whose keystore comes back within the hour, and counts the hour anew", async () => {
    const path = place();
    await save(path, withToken("first"));
    const { text } = readSettings(path);
    await save(path, '{"version":1}');
    await save(path, text);
    expect(filesBeside(path)).toEqual(secretsBeside(path));
    expect(tokenOf(path)).toBe("first");
    await save(path, '{"version":1}');
    await saveLater(path, 3500);
    expect(secretsBeside(path)).toHaveLength(1);
  });

  it("refuses settings that name a secret that is gone, at its field, and leaves all as it is", async () => {
    const path = place();
    await save(path, withToken("first"));
    const { text } = readSettings(path);
    const digest = await save(path, '{"version":1}');
    await saveLater(path);
    expect(filesBeside(path)).toEqual([]);
    for (const expected of [undefined, digest])
      await expect(save(path, text, expected)).rejects.toMatchObject({
        code: "SETTINGS_INVALID",
        fields: [
          { pointer: "/keystores/0/auth/tokenFile", sentence: expect.stringContaining("gone") as string },
        ],
      });
    expect([readSettings(path).text, filesBeside(path)]).toEqual(['{"version":1}', []]);
    // a file of somebody's own may come later
    await save(path, textWith({ method: "token", tokenFile: join(secretsDirectoryOf(path), "mine") }));
  });

  it("drops a secret with its keystore, and says no more that it is set", async () => {
    const path = place();
    await save(path, withToken("first"));
    await save(path, '{"version":1}');
    await saveLater(path);
    expect(filesBeside(path)).toEqual([]);
    expect(secretsSetIn(storedIn(readSettings(path).text), secretsDirectoryOf(path))).toEqual([]);
  });

  it("says of no file that it is a secret of Luksmith's, but of its own that are there", () => {
    const directory = temporaryDirectory();
    const ours = join(directory, "hq-token-0123456789ab");
    const stored = (tokenFile: string) => storedIn(textWith({ method: "token", tokenFile }));
    expect(secretsSetIn(stored(ours), directory)).toEqual([]);
    writeFileSync(ours, "x");
    expect(secretsSetIn(stored(ours), directory)).toEqual(["/keystores/0/auth/token"]);
    expect(secretsSetIn(stored(join(directory, "mine")), directory)).toEqual([]);
    expect(secretsSetIn(stored(ours), "/elsewhere")).toEqual([]);
  });

  it("leaves alone what is not ours, and what a link leads to", async () => {
    const path = place();
    const directory = secretsDirectoryOf(path);
    mkdirSync(directory, { mode: 0o700 });
    const target = join(temporaryDirectory(), "target");
    writeFileSync(target, "theirs");
    const link = "hq-token-aaaaaaaaaaaa";
    symlinkSync(target, join(directory, link));
    const foreign = ["mine", "hq-token-0123456789AB", "hq-token-0123456789abc", "hq-key-0123456789ab"];
    for (const name of foreign) writeFileSync(join(directory, name), "theirs", { mode: 0o600 });
    writeFileSync(join(directory, "hq-token-bbbbbbbbbbbb"), "left by a kill", { mode: 0o600 });
    await save(path, '{"version":1}');
    await saveLater(path);
    expect(filesBeside(path)).toEqual([...foreign, link].sort());
    expect(readFileSync(target, "utf8")).toBe("theirs");
  });

  it("keeps a file that is named by another way to it", async () => {
    const path = place();
    await save(path, withToken("first"));
    const [name = ""] = secretsBeside(path);
    const alias = join(temporaryDirectory(), "alias");
    symlinkSync(secretsDirectoryOf(path), alias);
    await save(path, textWith({ method: "token", tokenFile: join(alias, name) }));
    await saveLater(path);
    expect(filesBeside(path)).toEqual([name]);
  });

  it("keeps the PIN under which a master key may still be, unless another took its place", async () => {
    const path = place();
    await save(path, withPin("1111"));
    const [first] = secretsBeside(path);
    await save(path, withPin("2222"));
    expect(secretsBeside(path)).toContain(first);
    await saveLater(path);
    const [second] = filesBeside(path);
    expect([first === second, filesBeside(path).length]).toEqual([false, 1]);
    await save(path, withPin("3333", { token: "another" }));
    await saveLater(path);
    expect(secretsBeside(path)).toContain(second);
    await save(path, '{"version":1}');
    await saveLater(path);
    expect(secretsBeside(path)).toContain(second);
  });

  it("refuses a directory that others may use, or that is a link", async () => {
    const path = place();
    await save(path, '{"version":1}');
    mkdirSync(secretsDirectoryOf(path));
    chmodSync(secretsDirectoryOf(path), 0o755);
    const unsafe = { code: "PERMISSIONS_UNSAFE" };
    await expect(save(path, withToken("first"))).rejects.toMatchObject(unsafe);
    expect([readSettings(path).text, secretsBeside(path)]).toEqual(['{"version":1}', []]);

    const linked = place();
    await save(linked, '{"version":1}');
    const elsewhere = temporaryDirectory();
    symlinkSync(elsewhere, secretsDirectoryOf(linked));
    await expect(save(linked, withToken("first"))).rejects.toMatchObject(unsafe);
    await save(linked, '{"version":1,"logLevel":"warn"}');
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it("leaves nothing when somebody else was faster", async () => {
    const path = place();
    const digest = await save(path, withToken("first"));
    await save(path, withToken("second"), digest);
    await expect(save(path, withToken("third"), digest)).rejects.toMatchObject({ code: "SETTINGS_CHANGED" });
    expect([tokenOf(path), secretsBeside(path).length]).toEqual(["second", 2]);
  });

  it("lets one of many win that change them at once, with its own secret", async () => {
    const path = place();
    const digest = await save(path, withToken("old"));
    const tokens = Array.from({ length: 6 }, (_, index) => `token-${index}`);
    const results = await Promise.allSettled(tokens.map((token) => save(path, withToken(token), digest)));
    const winners = tokens.filter((_, index) => results[index]?.status === "fulfilled");
    expect(winners).toEqual([tokenOf(path)]);
    await saveLater(path);
    expect(filesBeside(path)).toHaveLength(1);
  });

  it.each(["bytes", "inodes"] as const)("leaves the old ones when there are no %s left", async (what) => {
    const disk = smallDisk();
    mkdirSync(join(disk.path, "etc"));
    const path = join(disk.path, "etc/settings.json");
    await save(path, withToken("first"));
    const before = treeOf(join(disk.path, "etc"));
    disk.fill(what);
    const failed = { code: "SETTINGS_UNWRITABLE" };
    await expect(save(path, withToken("second"))).rejects.toMatchObject(failed);
    disk.remount("ro");
    await expect(save(path, withToken("second"))).rejects.toMatchObject(failed);
    expect(treeOf(join(disk.path, "etc"))).toEqual(before);
  });

  it("works with the old settings or the new ones, whatever call a save is killed at", async () => {
    const scratch = temporaryDirectory();
    const driver = await bundle(new URL("save-secrets-driver.ts", import.meta.url).pathname, scratch);
    const path = place();
    const run = async (fault?: { name: string; n: number; effect: string }) =>
      await trace([driver, path, await save(path, withToken("old")), withToken("new")], {
        ...{ watched: join(path, ".."), log: join(scratch, "log"), follow: "main thread" },
        ...(fault === undefined ? {} : { fault }),
      });
    const { calls, printed } = await run();
    expect(printed).toBe("saved");
    // the secret, the settings, and the old secret's mark
    expect(calls.filter(({ name }) => name === "fsync").length).toBeGreaterThanOrEqual(5);
    const outcomes = new Set<string>();
    for (const call of calls) {
      const { signal } = await run({ ...call, effect: "signal=KILL" });
      expect(signal, `${call.name} ${call.n}`).toBe("SIGKILL");
      outcomes.add(tokenOf(path));
      expect(["old", "new"], `killed at ${call.name} ${call.n}`).toContain(tokenOf(path));
    }
    expect([...outcomes].sort()).toEqual(["new", "old"]);
    await save(path, '{"version":1}');
    await saveLater(path);
    expect(filesBeside(path)).toEqual([]);
  });
});
