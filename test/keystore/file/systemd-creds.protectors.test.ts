import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bundle, trace } from "../../fs/strace.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { outcomeOf, protectedKeystore } from "./protectors.fixture.js";
import { startSwtpm } from "../../lab/swtpm.js";

const host = { type: "systemd-creds", with: "host", pcrs: "7" } as const;

async function prepare() {
  const made = protectedKeystore(host);
  const record = sampleRecord();
  await storeText(made.keystore, record, "passphrase");
  const fetch = () => outcomeOf(passphraseIn(made.another(), record));
  return { ...made, record, fetch };
}

describe("master key as a credential of systemd", () => {
  it("is encrypted, bound to its name, and comes back", async () => {
    const { fetch, masterKeyPath, runner } = await prepare();
    expect(await fetch()).toBe("passphrase");
    expect(runner.lines).toEqual(
      [
        "systemd-creds encrypt --with-key=host --name=luksmith-master-key - -",
        "systemd-creds decrypt --name=luksmith-master-key - -",
        "systemd-creds decrypt --name=luksmith-master-key - -",
        "systemd-creds decrypt --name=luksmith-master-key - -",
      ].slice(0, runner.lines.length),
    );
    expect(readFileSync(masterKeyPath, "utf8")).not.toContain('"key"');
  });

  it("is refused, and never wrong, with any part of it changed, or one that was made for something else", async () => {
    const { fetch, masterKeyPath } = await prepare();
    const text = readFileSync(masterKeyPath, "utf8");
    const stored = JSON.parse(text) as { credential: string };
    const bytes = Buffer.from(stored.credential, "base64");
    for (let at = 0; at < bytes.length; at += 5) {
      const changed = Buffer.from(bytes);
      changed[at] = changed[at]! ^ 0x11;
      writeFileSync(masterKeyPath, JSON.stringify({ ...stored, credential: changed.toString("base64") }));
      expect(await fetch(), `byte ${at}`).toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    }
    const other = execFileSync("systemd-creds", ["encrypt", "--with-key=host", "--name=other", "-", "-"], {
      input: Buffer.alloc(32),
      stdio: ["pipe", "pipe", "ignore"],
    });
    writeFileSync(masterKeyPath, JSON.stringify({ ...stored, credential: String(other).replace(/\s/g, "") }));
    expect(await fetch()).toMatchObject({
      code: "MASTER_KEY_UNUSABLE",
      why: expect.stringContaining("does not match") as string,
    });
  });

  it("is not given out once a PCR of it has changed", async () => {
    await using swtpm = await startSwtpm();
    // systemd ignores PCRs that nothing was measured into
    swtpm.extend(7);
    const { keystore, another } = protectedKeystore({ ...host, with: "tpm2", tpm2Device: swtpm.tcti });
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    swtpm.exec("tpm2_flushcontext", "-l");
    expect(await outcomeOf(passphraseIn(another(), record))).toBe("passphrase");
    swtpm.exec("tpm2_flushcontext", "-l");
    swtpm.extend(7);
    expect(await outcomeOf(passphraseIn(another(), record))).toMatchObject({
      code: "MASTER_KEY_UNUSABLE",
      why: expect.stringMatching(/policy/) as string,
    });
  });

  it("is unavailable while the TPM that it needs is gone", async () => {
    const swtpm = await startSwtpm();
    const { keystore, another } = protectedKeystore({ ...host, with: "host+tpm2", tpm2Device: swtpm.tcti });
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    await swtpm[Symbol.asyncDispose]();
    expect(await outcomeOf(passphraseIn(another(), record))).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
  });
});

describe("another protector", () => {
  it("is asked for by hand, is used by everybody then, and leaves every record as it is", async () => {
    const { record, another, care, directory, masterKeyPath, under } = await prepare();
    const inClear = under({ type: "file" });
    const records = () => Object.entries(treeOf(directory)).filter(([name]) => name !== "master-key.json");
    const before = records();
    // the settings have changed: hooks go on, and the test says it
    expect(await outcomeOf(passphraseIn(inClear.keystore, record))).toBe("passphrase");
    await expect(inClear.keystore.test()).rejects.toMatchObject({
      code: "PROTECTOR_DIFFERS",
      hint: expect.stringContaining("reprotect") as string,
    });
    const opened = another();
    await passphraseIn(opened, record);
    expect(await inClear.care.reprotect("apply")).toEqual({ from: "systemd-creds", to: "file" });
    expect(JSON.parse(readFileSync(masterKeyPath, "utf8"))).toMatchObject({ version: 1, protector: "file" });
    await inClear.keystore.test();
    expect(await outcomeOf(passphraseIn(opened, record))).toBe("passphrase");
    expect(await care.reprotect("apply")).toEqual({ from: "file", to: "systemd-creds" });
    expect(await outcomeOf(passphraseIn(another(), record))).toBe("passphrase");
    expect(records()).toEqual(before);
  });

  it("leaves the old one in force when the new one is not there", async () => {
    const { under, record, directory } = await prepare();
    const before = treeOf(directory);
    for (const protector of [
      { type: "tpm2", tcti: "device:/dev/nonexistent", pcrs: "7" },
      { type: "tang", servers: [{ url: "http://127.0.0.1:9", thumbprint: "A".repeat(43) }], threshold: 1 },
    ] as const) {
      const other = under({
        ...protector,
        ...("servers" in protector ? { servers: [...protector.servers] } : {}),
      } as never);
      expect(await outcomeOf(other.care.reprotect("apply"))).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
      expect(treeOf(directory)).toEqual(before);
      expect(await outcomeOf(passphraseIn(other.keystore, record))).toBe("passphrase");
    }
  });

  it("is believed only when it gives the key back", async () => {
    const { under, directory } = await prepare();
    const inClear = under({ type: "file" });
    await inClear.care.reprotect("apply");
    const before = treeOf(directory);
    const back = under(host);
    const foreign = JSON.parse(readFileSync((await prepare()).masterKeyPath, "utf8")) as {
      credential: string;
    };
    // a systemd-creds that encrypts something else than it was given
    const run = back.runner.run.bind(back.runner);
    back.runner.run = async (command) => {
      const result = await run(command);
      return command.args[0] === "encrypt" ? { ...result, stdout: foreign.credential } : result;
    };
    expect(await outcomeOf(back.care.reprotect("apply"))).toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    expect(treeOf(directory)).toEqual(before);
  });

  it.each(["reprotect", "create"])(
    "is the old one or the new one, whatever call %s is killed at",
    async (operation) => {
      const directory = temporaryDirectory();
      const driver = await bundle(new URL("care-driver.ts", import.meta.url).pathname, directory);
      const start = protectedKeystore({ type: "file" }, undefined, join(directory, "0/keystore"));
      mkdirSync(join(directory, "0"));
      // made by the first run, it would have calls that no other has
      mkdirSync(join(directory, "locks"), { mode: 0o700 });
      const record = sampleRecord();
      await storeText(start.keystore, record, "passphrase");
      let runs = 0;
      const run = async (fault?: { name: string; n: number; effect: string }) => {
        const watched = join(directory, String(++runs));
        cpSync(join(directory, "0"), watched, { recursive: true });
        const argv = [driver, operation, join(watched, "keystore"), join(directory, "locks")];
        const outcome = await trace(argv, {
          watched,
          log: join(directory, "log"),
          follow: "main thread",
          ...(fault === undefined ? {} : { fault }),
        });
        return { outcome, keystore: join(watched, "keystore") };
      };
      const whole = await run();
      expect(whole.outcome.printed).toBe("done");
      const { calls } = whole.outcome;
      expect(calls.map(({ name }) => name)).toEqual(expect.arrayContaining(["write", "fsync", "rename"]));
      const forms = new Set<string>();
      for (const call of calls) {
        const { outcome, keystore } = await run({ ...call, effect: "signal=KILL" });
        const when = `killed at ${call.name} ${call.n}`;
        expect(outcome.signal, when).toBe("SIGKILL");
        const there = protectedKeystore(host, undefined, keystore);
        expect(await outcomeOf(passphraseIn(there.keystore, record)), when).toBe("passphrase");
        const stored = JSON.parse(readFileSync(there.masterKeyPath, "utf8")) as Record<string, unknown>;
        forms.add(`${String(stored["protector"])} ${stored["recovery"] === undefined ? "" : "recovery"}`);
        copyFileSync(there.masterKeyPath, join(directory, "copy"));
        await there.care.reprotect("apply");
        expect(readdirSync(keystore).sort(), when).toEqual(["master-key.json", "records"]);
      }
      expect([...forms].sort()).toEqual(
        operation === "create" ? ["file ", "file recovery"] : ["file ", "systemd-creds "],
      );
    },
    // dozens of runs, each under strace
    300_000,
  );
});
