import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { Command } from "../../../src/exec/command-runner.js";
import { smallDisk } from "../../fs/small-disk.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { makeSoftHsm, type SoftHsm } from "../../lab/softhsm.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { outcomeOf, pinFileWith, pkcs11, protectedKeystore, TokenRunner } from "./protectors.fixture.js";

let hsm: SoftHsm;
beforeEach(() => {
  hsm = makeSoftHsm();
  onTestFinished(() => hsm[Symbol.dispose]());
});

const PKCS11JS = createRequire(import.meta.url).resolve("pkcs11js");

/** A token whose process runs `logIn` in place of the library's function, which it gets as `original`. */
class FakeLoginRunner extends TokenRunner {
  /** When processes for the token began and ended, in this order. */
  readonly events: string[] = [];
  #env: Readonly<Record<string, string>> = {};

  logInAs(logIn: string | undefined): void {
    this.#env = {};
    if (logIn === undefined) return;
    const preload = join(temporaryDirectory(), "preload.cjs");
    writeFileSync(
      preload,
      `const { PKCS11 } = require(${JSON.stringify(PKCS11JS)});
const original = PKCS11.prototype.C_Login;
PKCS11.prototype.C_Login = function (...args) { ${logIn}; return original.apply(this, args); };`,
    );
    this.#env = { NODE_OPTIONS: `--require ${preload}` };
  }

  override async run(command: Command): ReturnType<TokenRunner["run"]> {
    if (command.tool !== "node") return await super.run(command);
    this.events.push("begins");
    try {
      return await super.run({ ...command, env: this.#env });
    } finally {
      this.events.push("ends");
    }
  }
}

async function prepare(directory?: string) {
  const runner = new FakeLoginRunner(hsm);
  const settings = pkcs11(hsm);
  const made = protectedKeystore(settings, runner, directory);
  const record = sampleRecord();
  await storeText(made.keystore, record, "passphrase");
  const fetch = () => outcomeOf(passphraseIn(made.another(), record));
  const asked = () => runner.events.filter((event) => event === "begins").length;
  return { ...made, runner, settings, record, fetch, asked };
}

const KILL = `process.kill(process.pid, "SIGKILL")`;

describe("a token's PIN", () => {
  it("is not tried again when the answer to it was lost, until its file changes", async () => {
    const { fetch, runner, settings, asked, directory } = await prepare();
    runner.logInAs(KILL);
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    runner.logInAs(undefined);
    const before = asked();
    for (let again = 0; again < 3; again++) {
      expect(await fetch()).toMatchObject({
        code: "PIN_REJECTED",
        why: expect.stringContaining("answer to it was lost") as string,
      });
    }
    expect(asked()).toBe(before);
    const memory = readdirSync(directory).find((name) => name.startsWith("pin-"))!;
    expect(readFileSync(join(directory, memory), "utf8")).not.toContain(hsm.pin);
    utimesSync(settings.pinFile, new Date(), new Date());
    expect(await fetch()).toBe("passphrase");
  });

  it("is tried again when the token's process died before or after the login", async () => {
    const { fetch, runner } = await prepare();
    runner.logInAs(`this.C_FindObjectsInit = () => ${KILL}`);
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    runner.logInAs(`}; PKCS11.prototype.C_OpenSession = () => { ${KILL}`);
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    runner.logInAs(`throw new Error("CKR_TOKEN_NOT_PRESENT:224")`);
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    runner.logInAs(undefined);
    expect(await fetch()).toBe("passphrase");
  });

  it("that was corrected while the wrong one was tried is not held back", async () => {
    const { fetch, runner, settings } = await prepare();
    writeFileSync(settings.pinFile, "wrong-pin\n");
    const write = `require("node:fs").writeFileSync(${JSON.stringify(settings.pinFile)}, ${JSON.stringify(hsm.pin)})`;
    runner.logInAs(write);
    expect(await fetch()).toMatchObject({ code: "PIN_REJECTED" });
    runner.logInAs(undefined);
    expect(await fetch()).toBe("passphrase");
  });

  it("is tried by nobody else while a process does, even if who started that has gone", async () => {
    const { fetch, runner, record, settings, directory } = await prepare();
    const leaving = new LeavingRunner(hsm);
    leaving.logInAs(`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000)`);
    const gone = protectedKeystore(settings, leaving, directory);
    expect(await outcomeOf(passphraseIn(gone.keystore, record))).toMatchObject({ why: "gone" });
    expect(leaving.events).toEqual(["begins"]);
    const began = Date.now();
    expect(await fetch()).toBe("passphrase");
    expect(Date.now() - began).toBeGreaterThan(800);
    expect(runner.events.length).toBeGreaterThan(0);
    await leaving.left;
  });

  it("that was right serves from a disk that cannot be written; a new one is not tried there", async () => {
    const disk = smallDisk();
    const { fetch, settings, asked } = await prepare(join(disk.path, "keystore"));
    disk.remount("ro");
    expect(await fetch()).toBe("passphrase");
    utimesSync(settings.pinFile, new Date(), new Date());
    const before = asked();
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    expect(asked()).toBe(before);
    disk.remount("rw");
    disk.fill("bytes");
    expect(await fetch()).toBe("passphrase");
  });

  it("of another token in the settings is not tried on the one that has the key, which goes on until reprotect", async () => {
    const { under, record, settings, runner, masterKeyPath } = await prepare();
    hsm.addToken("other token");
    const argv = ["--module", hsm.module, "--token-label", "other token", "--login", "--pin", hsm.pin];
    const keygen = ["--keygen", "--key-type", "AES:32", "--label", "other key", "--id", "05", "--sensitive"];
    execFileSync("pkcs11-tool", [...argv, ...keygen], { env: { ...process.env, ...hsm.env }, stdio: "pipe" });
    const wrong = pinFileWith("wrong-pin");
    const other = { ...settings, token: "other token", key: "other key", pinFile: wrong };
    for (const module of [settings.module, "/usr/lib/nowhere.so"]) {
      const moved = under({ ...other, module });
      expect(await outcomeOf(passphraseIn(moved.keystore, record)), module).toBe("passphrase");
    }
    expect(readdirSync(join(masterKeyPath, "..")).filter((name) => name.startsWith("pin-"))).toHaveLength(1);
    await expect(under(other).care.reprotect("apply")).rejects.toMatchObject({ code: "PIN_REJECTED" });
    expect(await outcomeOf(passphraseIn(under(other).keystore, record))).toBe("passphrase");
    writeFileSync(wrong, hsm.pin);
    await under(other).care.reprotect("apply");
    runner.lines.length = 0;
    expect(await outcomeOf(passphraseIn(under(other).keystore, record))).toBe("passphrase");
    expect(runner.lines.filter((line) => line.startsWith("node ")).join()).toContain("other token other key");
  });
});

/** Is gone while the token's process runs: it gives up, and closes what it had open. */
class LeavingRunner extends FakeLoginRunner {
  left: Promise<unknown> = Promise.resolve();

  override async run(command: Command): ReturnType<TokenRunner["run"]> {
    if (command.tool !== "node") return await super.run(command);
    this.left = super.run(command);
    await new Promise((resolve) => setTimeout(resolve, 600));
    throw new Error("gone");
  }
}
