import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import type { SettingsGetOutput } from "../../src/generated/settings-get.js";
import { takeApart } from "../../src/settings/given.js";
import { readSettings } from "../../src/settings/load.js";
import { secretsDirectoryOf } from "../../src/settings/paths.js";
import { saveSettings } from "../../src/settings/save.js";
import { commandLine } from "../cli/luksmith.js";
import { bundle, trace } from "../fs/strace.js";
import { temporaryDirectory } from "../fs/tree.js";
import { type FakePmxcfs, startFakePmxcfs } from "../lab/pmxcfs.js";

const runner = new ExecaCommandRunner();
const NONE = '{"version":1}';

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
  const name = `priv/cluster-${count++}/settings.json`;
  [here = "", there = ""] = pmxcfs.nodes.map((node) => join(node, name));
});

function withToken(token: string): string {
  const vault = { name: "hq", type: "vault", url: "http://127.0.0.1:1" };
  return JSON.stringify({ version: 1, keystores: [{ ...vault, auth: { method: "token", token } }] });
}

async function save(path: string, text: string): Promise<string> {
  using given = takeApart(text, "test", secretsDirectoryOf(path));
  return await saveSettings(given, { runner, path });
}

function tokenFileIn(path: string): string {
  const [keystore] = readSettings(path).settings.keystores;
  if (keystore.type !== "vault" || keystore.auth.method !== "token") throw new Error("not saved");
  return keystore.auth.tokenFile;
}

/** Of a settings file, by the node that sees it there. */
const tokenOf = (path: string) =>
  readFileSync(join(secretsDirectoryOf(path), basename(tokenFileIn(path))), "utf8");
const secretsOf = (path: string) => readdirSync(secretsDirectoryOf(path)).sort();

/** All that is unused has been so for an hour. */
function anHourLater(directory: string): void {
  const then = Date.now() / 1000 - 3601;
  for (const name of readdirSync(directory).filter((one) => one.endsWith(".unused")))
    utimesSync(join(directory, name), then, then);
}

/** `luksmith settings WORD…` on the first node, which has its cluster's file system at /etc/pve. */
function settings(words: readonly string[], input = "") {
  const script = `
    mount -t tmpfs -o mode=0755 tmpfs /mnt && mkdir /mnt/up /mnt/work
    mount -t overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work overlay /etc
    mkdir -p /etc/pve && mount --bind "$1" /etc/pve
    shift
    exec "$@"`;
  const [node = ""] = pmxcfs.nodes;
  const call = ["sh", "-c", script, "sh", node, ...commandLine(["settings", ...words])];
  return spawnSync("unshare", ["--mount", "--propagation", "private", ...call], { encoding: "utf8", input });
}

describe("luksmith settings on a node of Proxmox VE", () => {
  it("keeps a secret where root alone reads it on every node, and names it to them all", () => {
    const set = settings(["set", "--json"], withToken("first"));
    expect(set.status, set.stderr).toBe(0);
    const directory = join(pmxcfs.nodes[1] ?? "", "priv/luksmith");
    const [name = ""] = readdirSync(directory);
    expect(name).toMatch(/^hq-token-[0-9a-f]{12}$/);
    expect(readFileSync(join(directory, name), "utf8")).toBe("first");
    const modes = [directory, join(directory, name)].map((path) => statSync(path).mode & 0o777);
    expect(modes).toEqual([0o700, 0o600]);

    const got = settings(["get", "--json"]);
    const { path, stored, secretsSet } = JSON.parse(got.stdout) as SettingsGetOutput;
    expect(path).toBe("/etc/pve/luksmith/settings.json");
    expect(secretsSet).toEqual(["/keystores/0/auth/token"]);
    expect(JSON.stringify(stored)).toContain(`"/etc/pve/priv/luksmith/${name}"`);
    for (const text of [set.stdout, set.stderr, got.stdout, got.stderr]) expect(text).not.toContain("first");
  });

  it("replaces a secret by a new file, drops the old one, and leaves keys alone", () => {
    const directory = join(pmxcfs.nodes[0] ?? "", "priv/luksmith");
    mkdirSync(join(directory, "keystore/records"), { recursive: true });
    writeFileSync(join(directory, "keystore/master-key.json"), "{}");
    settings(["set"], withToken("first"));
    const before = readdirSync(directory);
    expect(settings(["set"], withToken("second")).status).toBe(0);
    const names = readdirSync(directory).filter((one) => /^hq-token-[0-9a-f]{12}$/.test(one));
    const [name = "", ...others] = names.filter((one) => !before.includes(one));
    expect(others).toEqual([]);
    expect(readdirSync(directory)).toEqual(expect.arrayContaining(before));
    expect(readFileSync(join(directory, name), "utf8")).toBe("second");
    expect(settings(["set"], NONE).status).toBe(0);
    expect(readdirSync(directory)).toContain(name);
    anHourLater(directory);
    expect(settings(["set"], NONE).status).toBe(0);
    expect(readdirSync(directory)).toEqual(["keystore"]);
    expect(readdirSync(join(directory, "keystore")).sort()).toEqual(["master-key.json", "records"]);
  });
});

describe("secrets on /etc/pve", () => {
  it("stay for an hour where another node may be about to name them", async () => {
    await save(here, withToken("ours"));
    const ours = basename(tokenFileIn(here));
    const theirs = "hq-token-0123456789ab";
    writeFileSync(join(secretsDirectoryOf(there), theirs), "theirs");
    await save(here, withToken("newer"));
    const newer = basename(tokenFileIn(here));
    expect(newer).not.toBe(ours);
    // and what the settings named, by which processes of other nodes log in
    for (const name of [theirs, ours, newer]) expect(secretsOf(here)).toContain(name);

    anHourLater(secretsDirectoryOf(here));
    await save(there, readSettings(there).text);
    expect(secretsOf(here)).toEqual([newer]);
  });

  it.each(["no-quorum", "database-failed"] as const)("stay as they are: %s", async (writing) => {
    await save(here, withToken("first"));
    const before = secretsOf(here);
    pmxcfs.set(writing);
    try {
      await expect(save(there, withToken("second"))).rejects.toMatchObject({ code: "SETTINGS_UNWRITABLE" });
      expect([tokenOf(here), secretsOf(there)]).toEqual(["first", before]);
    } finally {
      pmxcfs.set("writable");
    }
    await save(there, withToken("second"));
    expect(tokenOf(here)).toBe("second");
  });

  it("are kept nowhere else, where the group of the web interface could read them", async () => {
    const path = join(pmxcfs.nodes[0] ?? "", `luksmith-${count}/settings.json`);
    await save(path, NONE);
    await expect(save(path, withToken("first"))).rejects.toMatchObject({ code: "PERMISSIONS_UNSAFE" });
    expect([readSettings(path).text, secretsOf(path)]).toEqual([NONE, []]);
  });

  it("are there for the settings that name them, whatever call a save is killed at", async () => {
    const scratch = temporaryDirectory();
    const driver = await bundle(new URL("save-secrets-driver.ts", import.meta.url).pathname, scratch);
    const run = async (fault?: { name: string; n: number; effect: string }) =>
      await trace([driver, here, await save(here, withToken("old")), withToken("new")], {
        ...{ watched: dirname(here), log: join(scratch, "log"), follow: "main thread" },
        ...(fault === undefined ? {} : { fault }),
      });
    const { calls, printed } = await run();
    expect(printed).toBe("saved");
    const outcomes = new Set<string>();
    for (const call of calls) {
      const { signal } = await run({ ...call, effect: "signal=KILL" });
      expect(signal, `${call.name} ${call.n}`).toBe("SIGKILL");
      expect(["old", "new"], `killed at ${call.name} ${call.n}`).toContain(tokenOf(here));
      outcomes.add(tokenOf(here));
    }
    expect([...outcomes].sort()).toEqual(["new", "old"]);
  }, 180_000);
});
