import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createFile } from "../../../src/fs/atomic-file.js";
import { nameOnce } from "../../../src/fs/claim.js";
import { PRIVATE_FILE, readGuardedFile } from "../../../src/fs/guarded-file.js";
import { removeLeftovers } from "../../../src/fs/leftovers.js";
import { FileKeystore } from "../../../src/keystore/file/file-keystore.js";
import { KeystoreCare } from "../../../src/keystore/file/care.js";
import { requireReach } from "../../../src/keystore/file/reach.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { keystoreContract } from "../../contract/keystore.contract.js";
import { bundle, trace } from "../../fs/strace.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { type FakePmxcfs, startFakePmxcfs } from "../../lab/pmxcfs.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore, recordPath } from "./file-keystore.fixture.js";

let pmxcfs: FakePmxcfs;
let count = 0;
/** The same directory as two nodes see it, new for each test. */
let here: string;
let there: string;

beforeAll(async () => {
  pmxcfs = await startFakePmxcfs(2);
});
afterAll(async () => {
  await pmxcfs[Symbol.asyncDispose]();
});
beforeEach(() => {
  const name = `priv/luksmith/keystore-${count++}`;
  [here = "", there = ""] = pmxcfs.nodes.map((node) => join(node, name));
});

keystoreContract("file keystore on /etc/pve, another process on another node", () =>
  Promise.resolve({
    keystore: fileKeystore(here),
    another: () => fileKeystore(there),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }),
);

describe("file keystore on /etc/pve", () => {
  it("keeps its files from all but root, as the file system does by itself", async () => {
    await storeText(fileKeystore(here), sampleRecord(), "passphrase");
    const modes = [here, join(here, "records"), join(here, "master-key.json")].map(
      (path) => statSync(path).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o700, 0o600]);
  });

  it("stores no key where the group of the web interface could read it", async () => {
    const directory = join(pmxcfs.nodes[0] ?? "", "luksmith/keystore");
    await expect(storeText(fileKeystore(directory), sampleRecord(), "key")).rejects.toMatchObject({
      code: "PERMISSIONS_UNSAFE",
    });
    expect(readdirSync(join(directory, "records"))).toEqual([]);
  });

  it("leaves nothing but keys behind", async () => {
    const record = sampleRecord();
    await storeText(fileKeystore(here), record, "passphrase");
    await fileKeystore(there).update({ ...record, state: "active" });
    await expect(storeText(fileKeystore(there), record, "other")).rejects.toMatchObject({
      code: "KEY_EXISTS",
    });
    expect(readdirSync(here).sort()).toEqual(["master-key.json", "records"]);
    expect(readdirSync(join(here, "records"))).toEqual([`${record.uuid}.json`]);
  });

  it("reads a record whole that another node has just made longer", async () => {
    const record = sampleRecord();
    await storeText(fileKeystore(here), record, "passphrase");
    // the kernel there knows the size from now on, for a second
    expect(statSync(recordPath(there, record)).size).toBeLessThan(5000);
    const longer = { ...record, volume: `/srv/${"x".repeat(5000)}` };
    await fileKeystore(here).update(longer);
    expect(statSync(recordPath(there, record)).size).toBeLessThan(5000);
    expect(await fileKeystore(there).list()).toEqual([longer]);
  });

  it("leaves the files alone that another node is writing, and removes them after an hour", async () => {
    await storeText(fileKeystore(here), sampleRecord(), "passphrase");
    const ofAnother = join(here, `.x.json.${spawnSync("true").pid}.0badcafe-0123456789abcdef.tmp`);
    const claim = join(here, ".y.json.claim");
    writeFileSync(ofAnother, "");
    mkdirSync(claim);
    writeFileSync(join(claim, ".y.json.1.0badcafe-0123456789abcdef.tmp"), "");
    removeLeftovers(here);
    expect([ofAnother, claim].map(existsSync)).toEqual([true, true]);
    const anHourAgo = Date.now() / 1000 - 3601;
    for (const path of [ofAnother, claim]) utimesSync(path, anHourAgo, anHourAgo);
    removeLeftovers(here);
    expect([ofAnother, claim].map(existsSync)).toEqual([false, false]);
  });

  it("reads, and says what it wants for writing, while the cluster has no quorum", async () => {
    const keystore = fileKeystore(here);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    pmxcfs.set("no-quorum");
    try {
      expect(await passphraseIn(fileKeystore(there), record)).toEqual(Buffer.from("passphrase"));
      const refused = {
        code: "KEYSTORE_WRITE_FAILED",
        hint: expect.stringContaining("pvecm status") as string,
      };
      await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject(refused);
      await expect(keystore.update({ ...record, state: "active" })).rejects.toMatchObject(refused);
      await expect(keystore.delete(keyUuidOf(record))).rejects.toMatchObject(refused);
    } finally {
      pmxcfs.set("writable");
    }
    expect(await keystore.list()).toEqual([record]);
    await keystore.test();
  });

  it("loses nothing when the disk below the cluster's database is full", async () => {
    const keystore = fileKeystore(here);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    pmxcfs.set("database-failed");
    try {
      const failed = { code: "KEYSTORE_WRITE_FAILED" };
      await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject(failed);
      await expect(keystore.update({ ...record, state: "active" })).rejects.toMatchObject(failed);
    } finally {
      pmxcfs.set("writable");
    }
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    expect(await keystore.list()).toEqual([record]);
  });

  it("changes its protector and its recovery passphrase in place", async () => {
    await storeText(fileKeystore(here), sampleRecord(), "passphrase");
    const place = { name: "local", type: "file", directory: here } as const;
    const care = new KeystoreCare(place, new ExecaCommandRunner(), temporaryDirectory());
    let shown = "";
    await care.createRecovery({ manner: "apply", existing: "keep" }, (passphrase) => {
      shown = passphrase.use(String);
      return Promise.resolve();
    });
    expect(shown).toHaveLength(40);
    await care.reprotect("apply");
    expect(readFileSync(join(there, "master-key.json"), "utf8")).toContain('"recovery"');
    await fileKeystore(there).test();
  });
});

describe("file keystore on two nodes at once", () => {
  it("goes on with one master key, and keeps every key", async () => {
    const driver = await bundle(new URL("driver.ts", import.meta.url).pathname, temporaryDirectory());
    const records = [sampleRecord(), sampleRecord(), sampleRecord(), sampleRecord()];
    const printed = await Promise.all(
      records.map(async ({ uuid }, index) => {
        const directory = index % 2 === 0 ? here : there;
        const log = join(temporaryDirectory(), "log");
        // so that each has a master key of its own ready before any of them has named it
        const fault = { name: "link", n: 1, effect: "delay_enter=400000" };
        const argv = [driver, "store", directory, uuid, `passphrase of ${uuid}`];
        return (await trace(argv, { watched: directory, log, fault })).printed;
      }),
    );
    expect(printed).toEqual(["done", "done", "done", "done"]);
    for (const record of records) {
      const expected = Buffer.from(`passphrase of ${record.uuid}`);
      expect(await passphraseIn(fileKeystore(here), record)).toEqual(expected);
      expect(await passphraseIn(fileKeystore(there), record)).toEqual(expected);
    }
  });

  it("creates a file once, whoever comes first", () => {
    mkdirSync(here);
    const [one, other] = [join(here, "file"), join(there, "file")];
    expect(createFile(one, Buffer.from("one"), 0o600)).toBe("created");
    expect(createFile(other, Buffer.from("other"), 0o600)).toBe("exists");
    expect(readFileSync(other, "utf8")).toBe("one");
  });

  it("replaces no file that got its name before the claim was made", () => {
    mkdirSync(here);
    for (const name of ["file", "temporary"]) writeFileSync(join(here, name), name);
    expect(nameOnce(join(here, "temporary"), join(here, "file"))).toBe("exists");
    expect(readFileSync(join(here, "file"), "utf8")).toBe("file");
    expect(readdirSync(here)).toEqual(["file"]);
  });

  it("waits for another node's claim, and takes one over that a killed process has left", async () => {
    mkdirSync(here);
    mkdirSync(join(there, ".file.claim"));
    const begun = performance.now();
    expect(createFile(join(here, "file"), Buffer.from("mine"), 0o600)).toBe("created");
    expect(performance.now() - begun).toBeGreaterThan(2500);
    await pause(1100);
    expect(readdirSync(there)).toEqual(["file"]);
  });

  it.each([
    ["before it has put its file into the claim", 1],
    ["between its last look and the name", 2],
  ])(
    "keeps the file of whoever took a claim over, when its owner was only slow %s",
    async (_, n) => {
      mkdirSync(here, { recursive: true });
      const scratch = temporaryDirectory();
      const driver = await bundle(new URL("../../fs/create-driver.ts", import.meta.url).pathname, scratch);
      const fault = { name: "rename", n, effect: "delay_enter=5000000" };
      const slow = trace([driver, join(here, "file"), "slow"], {
        ...{ watched: here, log: join(scratch, "log"), fault, follow: "main thread" },
      });
      await vi.waitUntil(() => existsSync(join(here, ".file.claim")), { timeout: 5000 });
      expect(createFile(join(there, "file"), Buffer.from("quick"), 0o600)).toBe("created");
      expect((await slow).printed).toBe("exists");
      await pause(1100);
      expect(readFileSync(join(here, "file"), "utf8")).toBe("quick");
      expect(readdirSync(here)).toEqual(["file"]);
    },
    20_000,
  );

  it("names one file when the slow owner of a claim goes on in the claim of whoever took it over", async () => {
    mkdirSync(here, { recursive: true });
    const scratch = temporaryDirectory();
    const driver = await bundle(new URL("../../fs/create-driver.ts", import.meta.url).pathname, scratch);
    const create = (directory: string, text: string, n: number) =>
      trace([driver, join(directory, "file"), text], {
        ...{ watched: directory, log: join(scratch, text), follow: "main thread" },
        fault: { name: "rename", n, effect: "delay_enter=5000000" },
      });
    const first = create(here, "first", 1);
    await vi.waitUntil(() => existsSync(join(here, ".file.claim")), { timeout: 5000 });
    // it takes the claim over after 3 seconds, looks, and sleeps before it gives the name
    const second = create(there, "second", 2);
    const [one, other] = (await Promise.all([first, second])).map(({ printed }) => printed);
    expect([one, other].sort()).toEqual(["created", "exists"]);
    await pause(1100);
    expect(readFileSync(join(here, "file"), "utf8")).toBe(one === "created" ? "first" : "second");
    expect(readdirSync(here)).toEqual(["file"]);
  }, 30_000);

  it("waits no longer for a claim that cannot be taken over", () => {
    mkdirSync(here);
    mkdirSync(join(here, ".file.claim"));
    writeFileSync(join(here, ".file.claim/of-somebody"), "");
    writeFileSync(join(here, "temporary"), "");
    expect(() => nameOnce(join(here, "temporary"), join(here, "file"))).toThrow(/ENOTEMPTY/);
    expect(existsSync(join(here, "file"))).toBe(false);
  });

  it.each(["store", "activate"] as const)(
    "leaves every key whole or absent, whatever call a process is killed at: %s",
    async (operation) => {
      const scratch = temporaryDirectory();
      const driver = await bundle(new URL("driver.ts", import.meta.url).pathname, scratch);
      const earlier = sampleRecord();
      const subject = sampleRecord();
      const before = operation === "store" ? [earlier] : [earlier, subject];
      const argv = [driver, operation, here, subject.uuid, "passphrase"];
      const run = async (fault?: { name: string; n: number; effect: string }) => {
        if (existsSync(here)) renameAside();
        for (const record of before) await storeText(fileKeystore(here), record, "passphrase");
        return trace(argv, {
          watched: here,
          log: join(scratch, "log"),
          ...(fault === undefined ? {} : { fault }),
        });
      };
      const { calls } = await run();
      expect(calls.length).toBeGreaterThan(8);
      for (const call of calls) {
        const { signal } = await run({ ...call, effect: "signal=KILL" });
        const when = `killed at ${call.name} ${call.n}`;
        expect(signal, when).toBe("SIGKILL");
        expect(await passphraseIn(fileKeystore(there), earlier), when).toEqual(Buffer.from("passphrase"));
        const kept = await passphraseIn(fileKeystore(there), subject);
        if (kept !== undefined) expect(kept, when).toEqual(Buffer.from("passphrase"));
        else await storeText(fileKeystore(there), subject, "passphrase");
      }
    },
    180_000,
  );

  /** Another directory for the next run: only empty directories can be renamed there. */
  function renameAside(): void {
    for (const name of readdirSync(join(here, "records"))) renameSync(join(here, "records", name), trash());
    renameSync(join(here, "master-key.json"), trash());
    for (const name of readdirSync(here)) if (name.endsWith(".tmp")) renameSync(join(here, name), trash());
  }

  function trash(): string {
    return join(pmxcfs.nodes[0] ?? "", "priv/luksmith", `trash-${count++}`);
  }
});

describe("the protector of a keystore on /etc/pve", () => {
  it.each([
    ["tpm2", "PROTECTOR_DIFFERS"],
    ["systemd-creds", "PROTECTOR_DIFFERS"],
    ["tang", undefined],
    ["file", undefined],
    ["pkcs11", undefined],
  ] as const)("%s serves all nodes, or is refused by tests of the settings", (protector, code) => {
    const cluster = temporaryDirectory();
    const directory = join(cluster, "priv/luksmith/keystore");
    const check = () => requireReach(directory, protector, cluster);
    // a node that is in no cluster
    expect(check).not.toThrow();
    writeFileSync(join(cluster, "corosync.conf"), "");
    if (code === undefined) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code }) as Error);
    expect(() => requireReach("/var/lib/luksmith/keystore", protector, cluster)).not.toThrow();
  });
});

describe("a keystore whose cluster file system is not mounted", () => {
  it("is not there, and makes no new master key in the empty mount point", async () => {
    const scratch = temporaryDirectory();
    const tables = { fstab: "/dev/null", mountinfo: "/proc/self/mountinfo", known: [scratch] };
    const directory = join(scratch, "priv/keystore");
    const keystore = new FileKeystore({ name: "local", type: "file", directory }, undefined, tables);
    await expect(storeText(keystore, sampleRecord(), "key")).rejects.toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
    });
    expect(readdirSync(scratch)).toEqual([]);
  });

  it("reads a guarded file to its end", () => {
    const path = join(temporaryDirectory(), "file");
    writeFileSync(path, "x".repeat(100_000), { mode: 0o600 });
    expect(readGuardedFile(path, PRIVATE_FILE, 1_000_000)).toHaveLength(100_000);
    expect(readGuardedFile(path, PRIVATE_FILE, 70_000)).toHaveLength(70_000);
    // what says that it has no bytes, and has some
    expect(readGuardedFile("/proc/self/limits", { kind: "file", mode: 0, forbidden: 0 }, 5)).toHaveLength(5);
  });
});
