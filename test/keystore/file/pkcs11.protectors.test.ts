import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { makeSoftHsm, type SoftHsm } from "../../lab/softhsm.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { outcomeOf, pinFileWith, pkcs11, protectedKeystore, TokenRunner } from "./protectors.fixture.js";

let hsm: SoftHsm;
beforeEach(() => {
  hsm = makeSoftHsm();
  onTestFinished(() => hsm[Symbol.dispose]());
});

async function prepare() {
  const settings = pkcs11(hsm);
  const made = protectedKeystore(settings, new TokenRunner(hsm));
  const record = sampleRecord();
  await storeText(made.keystore, record, "passphrase");
  const fetch = () => outcomeOf(passphraseIn(made.another(), record));
  return { ...made, settings, record, fetch };
}

/** How often the token was asked. */
const asked = ({ runner }: { runner: TokenRunner | { lines: string[] } }) =>
  runner.lines.filter((line) => line.startsWith("node ")).length;

describe("master key under a token", () => {
  it("opens with the token, its key and the PIN, none of which any process names on its command line", async () => {
    const { fetch, runner, masterKeyPath } = await prepare();
    expect(await fetch()).toBe("passphrase");
    for (const text of [runner.lines.join("\n"), readFileSync(masterKeyPath, "utf8")]) {
      expect(text).not.toContain(hsm.pin);
    }
    const envs = runner.commands.map(({ env }) => JSON.stringify(env ?? {})).join("\n");
    expect(envs).not.toContain(hsm.pin);
  });

  it("tries a wrong PIN once, until the file changes: a token locks itself after a few", async () => {
    const { fetch, settings, runner, directory } = await prepare();
    writeFileSync(settings.pinFile, "wrong-pin\n");
    const before = asked({ runner });
    const first = await fetch();
    expect(first).toMatchObject({
      code: "PIN_REJECTED",
      why: expect.stringContaining("CKR_PIN_INCORRECT") as string,
    });
    for (let again = 0; again < 3; again++) {
      expect(await fetch()).toMatchObject({
        code: "PIN_REJECTED",
        hint: expect.stringContaining("touch") as string,
      });
    }
    expect(asked({ runner }) - before).toBe(1);
    expect(String(first)).not.toContain("wrong-pin");
    const memory = readdirSync(directory).find((name) => name.startsWith("pin-"))!;
    expect(readFileSync(join(directory, memory), "utf8")).not.toContain("wrong-pin");
    writeFileSync(settings.pinFile, hsm.pin);
    expect(await fetch()).toBe("passphrase");
  });

  it("tries a wrong PIN once when many guests start at the same time, and again after touch", async () => {
    const { another, settings, runner, record } = await prepare();
    writeFileSync(settings.pinFile, "wrong-pin\n");
    const before = asked({ runner });
    const all = await Promise.all(
      Array.from({ length: 5 }, () => outcomeOf(passphraseIn(another(), record))),
    );
    for (const outcome of all) expect(outcome).toMatchObject({ code: "PIN_REJECTED" });
    expect(asked({ runner }) - before).toBe(1);
    utimesSync(settings.pinFile, new Date(), new Date());
    await outcomeOf(passphraseIn(another(), record));
    expect(asked({ runner }) - before).toBe(2);
  });

  it.each([
    ["is missing", (path: string) => rmSync(path), "PROTECTOR_UNAVAILABLE"],
    ["is empty", (path: string) => writeFileSync(path, "\n"), "PROTECTOR_UNAVAILABLE"],
    [
      "can be read by others",
      (path: string) => {
        chmodSync(path, 0o644);
      },
      "PERMISSIONS_UNSAFE",
    ],
  ])("asks no token while the PIN file %s", async (_, change, code) => {
    const { fetch, settings, runner } = await prepare();
    change(settings.pinFile);
    const before = asked({ runner });
    expect(await fetch()).toMatchObject({ code });
    expect(asked({ runner })).toBe(before);
  });

  it("says which is missing: the token, its key, the module", async () => {
    const { fetch, under, record, settings } = await prepare();
    hsm.exec("--delete-object", "--type", "secrkey", "--label", hsm.key);
    const unavailable = (why: string) => ({
      code: "PROTECTOR_UNAVAILABLE",
      why: expect.stringContaining(why) as string,
    });
    expect(await fetch()).toMatchObject(unavailable("no AES key master key"));
    hsm.remove();
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    const elsewhere = under({ ...settings, module: "/usr/lib/nowhere/module.so" });
    expect(await outcomeOf(passphraseIn(elsewhere.keystore, record))).toMatchObject(
      unavailable("cannot be loaded"),
    );
    const noModule = under({ ...settings, module: "/lib/x86_64-linux-gnu/libc.so.6" });
    expect(await outcomeOf(passphraseIn(noModule.keystore, record))).toMatchObject({
      code: "PROTECTOR_UNAVAILABLE",
    });
  });

  it("is not opened by another key of the same name", async () => {
    const { fetch } = await prepare();
    hsm.exec("--delete-object", "--type", "secrkey", "--label", hsm.key);
    hsm.exec("--keygen", "--key-type", "AES:32", "--label", hsm.key, "--id", "02", "--sensitive");
    expect(await fetch()).toMatchObject({
      code: "MASTER_KEY_UNUSABLE",
      why: expect.stringContaining("another key of that name") as string,
    });
  });

  it("is unavailable, within seconds, when the token's library hangs", async () => {
    const { fetch, runner } = await prepare();
    runner.before = ({ tool }) => {
      if (tool === "node") setTimeout(stopChildren, 40);
    };
    const began = Date.now();
    expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
    expect(Date.now() - began).toBeLessThan(13_000);
    runner.before = () => undefined;
    expect(await fetch()).toBe("passphrase");
  });

  it("is refused, and never wrong, with anything of it changed", async () => {
    const { fetch, masterKeyPath } = await prepare();
    const text = readFileSync(masterKeyPath, "utf8");
    const stored = JSON.parse(text) as Record<string, string>;
    for (const member of ["wrapIv", "wrappedKey", "iv", "ciphertext", "tag", "masterKey"]) {
      const value = stored[member]!;
      const at = member === "masterKey" ? 3 : 6;
      const changed = `${value.slice(0, at)}${value[at] === "a" ? "b" : "a"}${value.slice(at + 1)}`;
      writeFileSync(masterKeyPath, JSON.stringify({ ...stored, [member]: changed }));
      expect(await fetch(), member).toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    }
    writeFileSync(masterKeyPath, text);
    expect(await fetch()).toBe("passphrase");
  });

  it("goes on with the token while the settings name another protector, and follows its module and PIN file", async () => {
    const { under, record, settings } = await prepare();
    const file = under({ type: "file" });
    expect(await outcomeOf(passphraseIn(file.keystore, record))).toBe("passphrase");
    rmSync(settings.pinFile);
    expect(existsSync(settings.pinFile)).toBe(false);
    const moved = under({ ...settings, pinFile: pinFileWith(hsm.pin) });
    expect(await outcomeOf(passphraseIn(moved.keystore, record))).toBe("passphrase");
  });
});

/** SIGSTOP for every Node.js that this process has started for a token. */
function stopChildren(): void {
  for (const pid of readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ")) {
    if (readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("tokens/pkcs11.js"))
      process.kill(Number(pid), "SIGSTOP");
  }
}
