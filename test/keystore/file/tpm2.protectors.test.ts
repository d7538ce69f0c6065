import { readFileSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { LuksmithError } from "../../../src/error/luksmith-error.js";
import { startSwtpm, type Swtpm } from "../../lab/swtpm.js";
import { treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { outcomeOf, protectedKeystore, tpm2 } from "./protectors.fixture.js";

let swtpm: Swtpm;
beforeAll(async () => {
  swtpm = await startSwtpm();
});
afterEach(() => {
  expect(swtpm.leftovers()).toEqual([]);
});
afterAll(() => swtpm[Symbol.asyncDispose]());

async function prepare(pcrs?: string) {
  const made = protectedKeystore(tpm2(swtpm, pcrs));
  const record = sampleRecord();
  await storeText(made.keystore, record, "passphrase");
  const fetch = () => outcomeOf(passphraseIn(made.another(), record));
  return { ...made, record, fetch };
}

describe("master key in a TPM", () => {
  it("is in the file in no form that this test knows, and comes back", async () => {
    const { fetch, masterKeyPath, runner } = await prepare();
    const stored = JSON.parse(readFileSync(masterKeyPath, "utf8")) as Record<string, string>;
    expect(Object.keys(stored)).toEqual([
      "version",
      "protector",
      "settings",
      "masterKey",
      "public",
      "private",
    ]);
    expect(await fetch()).toBe("passphrase");
    expect(runner.lines.map((line) => line.replace(swtpm.tcti, "")).join("\n")).not.toContain("/tmp/");
  });

  it("comes back after a cold start of the TPM, and after a crash of it", async () => {
    const { fetch } = await prepare();
    await swtpm.restart();
    expect(await fetch()).toBe("passphrase");
  });

  it("takes the tools and the flushes that are documented", async () => {
    const { runner, fetch } = await prepare();
    runner.commands.length = 0;
    await fetch();
    const flush = "tpm2_flushcontext -T TCTI -t";
    expect(runner.lines.map((line) => line.replace(swtpm.tcti, "TCTI"))).toEqual([
      "flock -x -w 10 -E 75 3",
      flush,
      "tpm2_createprimary -T TCTI -Q -C o -G ecc -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt -c /proc/self/fd/3",
      flush,
      "tpm2_load -T TCTI -Q -C /proc/self/fd/3 -u /proc/self/fd/4 -r /proc/self/fd/5 -c /proc/self/fd/6",
      flush,
      "tpm2_startauthsession -T TCTI --policy-session -S /proc/self/fd/3 --tpmkey-context /proc/self/fd/4",
      flush,
      "tpm2_sessionconfig -T TCTI /proc/self/fd/3 --enable-encrypt --enable-decrypt",
      flush,
      "tpm2_policypcr -T TCTI -Q -S /proc/self/fd/3 -l sha256:7",
      flush,
      "tpm2_unseal -T TCTI -Q -c /proc/self/fd/3 -p session:/proc/self/fd/4",
      flush,
      "tpm2_flushcontext -T TCTI /proc/self/fd/3",
    ]);
  });

  it("is not given out once a PCR of it has changed, and says so; other PCRs do not matter", async () => {
    const { fetch, directory } = await prepare("7,14");
    const before = treeOf(directory);
    swtpm.extend(11);
    expect(await fetch()).toBe("passphrase");
    swtpm.extend(14);
    expect(await fetch()).toMatchObject({
      code: "MASTER_KEY_UNUSABLE",
      why: expect.stringContaining("values of PCR 7,14") as string,
      hint: expect.stringContaining("recovery restore") as string,
    });
    expect(treeOf(directory)).toEqual(before);
    await swtpm.restart();
    expect(await fetch()).toBe("passphrase");
  });

  it("is of no use to another TPM", async () => {
    const { under, record } = await prepare();
    await using other = await startSwtpm();
    const elsewhere = under(tpm2(other));
    await swtpm.kill();
    const outcome = await outcomeOf(passphraseIn(elsewhere.keystore, record));
    await swtpm.restart();
    expect(outcome).toMatchObject({
      code: "MASTER_KEY_UNUSABLE",
      why: expect.stringContaining("another TPM") as string,
    });
  });

  it("is opened by its own TPM while the settings name another, until reprotect", async () => {
    const { under, record } = await prepare();
    await using other = await startSwtpm();
    const elsewhere = under(tpm2(other));
    expect(await outcomeOf(passphraseIn(elsewhere.keystore, record))).toBe("passphrase");
    await elsewhere.care.reprotect("apply");
    await swtpm.kill();
    const outcome = await outcomeOf(passphraseIn(elsewhere.another(), record));
    await swtpm.restart();
    expect(outcome).toBe("passphrase");
  });

  it("is unavailable, within seconds, while the TPM is gone or hangs", async () => {
    const { fetch, keystore } = await prepare();
    const unavailable = {
      code: "PROTECTOR_UNAVAILABLE",
      message: expect.stringContaining("master-key.json") as string,
    };
    await swtpm.kill();
    const began = Date.now();
    expect(await fetch()).toMatchObject(unavailable);
    expect(Date.now() - began).toBeLessThan(3_000);
    // an instance that had the key goes on
    await storeText(keystore, sampleRecord(), "more");
    await swtpm.restart();
    process.kill(swtpm.pid, "SIGSTOP");
    const hung = Date.now();
    expect(await fetch()).toMatchObject(unavailable);
    expect(Date.now() - hung).toBeLessThan(12_000);
    process.kill(swtpm.pid, "SIGCONT");
    expect(await fetch()).toBe("passphrase");
  });

  it.each(["tpm2_createprimary", "tpm2_load", "tpm2_policypcr", "tpm2_unseal"])(
    "is unavailable if the TPM dies at %s, and comes back with it",
    async (tool) => {
      const { fetch, runner } = await prepare();
      runner.before = async (command) => {
        if (command.tool === tool) await swtpm.kill();
      };
      expect(await fetch()).toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
      runner.before = () => undefined;
      await swtpm.restart();
      expect(await fetch()).toBe("passphrase");
    },
  );

  it.each(["tpm2_createprimary", "tpm2_create", "tpm2_unseal"])(
    "is not made if the TPM dies at %s: no file, no key, and the next store makes it",
    async (tool) => {
      const { keystore, runner, directory } = protectedKeystore(tpm2(swtpm));
      runner.before = async (command) => {
        if (command.tool === tool) await swtpm.kill();
      };
      const record = sampleRecord();
      await expect(storeText(keystore, record, "passphrase")).rejects.toMatchObject({
        code: "PROTECTOR_UNAVAILABLE",
      });
      expect(Object.keys(treeOf(directory))).toEqual(["records"]);
      runner.before = () => undefined;
      await swtpm.restart();
      await storeText(keystore, record, "passphrase");
      expect(Object.keys(treeOf(directory))).toHaveLength(3);
    },
  );

  it("says that the owner hierarchy has a password", async () => {
    swtpm.exec("tpm2_changeauth", "-c", "owner", "secret");
    const { keystore } = protectedKeystore(tpm2(swtpm));
    expect(await outcomeOf(storeText(keystore, sampleRecord(), "x"))).toMatchObject({
      code: "PROTECTOR_UNAVAILABLE",
      hint: expect.stringContaining("owner hierarchy must have no password") as string,
    });
    swtpm.exec("tpm2_changeauth", "-c", "owner", "-p", "secret");
  });

  it("opens for five processes at once on a TPM without a resource manager", async () => {
    const { another, record } = await prepare();
    const all = await Promise.all(
      Array.from({ length: 5 }, () => outcomeOf(passphraseIn(another(), record))),
    );
    expect(all).toEqual(Array(5).fill("passphrase"));
  });

  it.each(["public", "private"])(
    "is refused, and never wrong, with any byte of %s changed",
    async (member) => {
      const { fetch, masterKeyPath } = await prepare();
      const text = readFileSync(masterKeyPath, "utf8");
      const stored = JSON.parse(text) as Record<string, string>;
      const bytes = Buffer.from(stored[member]!, "base64");
      for (let at = 0; at < bytes.length; at += 9) {
        const changed = Buffer.from(bytes);
        changed[at] = changed[at]! ^ 0x41;
        writeFileSync(masterKeyPath, JSON.stringify({ ...stored, [member]: changed.toString("base64") }));
        const outcome = await fetch();
        expect(outcome, `byte ${at}: ${String((outcome as LuksmithError).why)}`).toMatchObject({
          code: "MASTER_KEY_UNUSABLE",
        });
      }
      writeFileSync(masterKeyPath, text);
      expect(await fetch()).toBe("passphrase");
    },
  );

  it("is refused with other PCRs or another id in the file", async () => {
    const { fetch, masterKeyPath } = await prepare();
    const text = readFileSync(masterKeyPath, "utf8");
    for (const [from, to] of [
      ['"pcrs":"7"', '"pcrs":"8"'],
      ['"masterKey":"', '"masterKey":"0123456789abcdef","x":"'],
      [/"masterKey":"[0-9a-f]{16}"/, '"masterKey":"0123456789abcdef"'],
    ] as const) {
      writeFileSync(masterKeyPath, text.replace(from, to));
      expect(await fetch()).toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    }
  });

  it("passes the bus to the TPM encrypted, both ways", async () => {
    const seen: Buffer[] = [];
    await using own = await startSwtpm();
    const path = `${own.socket}-tapped`;
    const servers = ["", ".ctrl"].map((end) =>
      createServer((client) => {
        const tpm = createConnection(`${own.socket}${end}`);
        for (const [from, to] of [[client, tpm] as const, [tpm, client] as const]) {
          from.on("data", (bytes) => (seen.push(Buffer.from(bytes)), to.write(bytes)));
          from.on("close", () => to.destroy());
          from.on("error", () => to.destroy());
        }
      }).listen(`${path}${end}`),
    );
    onTestFinished(() => servers.forEach((server) => server.close()));
    const { care, masterKeyPath, another, record } = await prepareIn(`swtpm:path=${path}`);
    expect(await outcomeOf(passphraseIn(another(), record))).toBe("passphrase");
    // in clear for once, to know what to look for
    await care.inClear.reprotect("apply");
    const { key } = JSON.parse(readFileSync(masterKeyPath, "utf8")) as { key: string };
    const masterKey = Buffer.from(key, "base64");
    const traffic = Buffer.concat(seen);
    expect(traffic.length).toBeGreaterThan(2_000);
    for (let at = 0; at + 8 <= masterKey.length; at++) {
      expect(traffic.includes(masterKey.subarray(at, at + 8))).toBe(false);
    }
  });
});

async function prepareIn(tcti: string) {
  const made = protectedKeystore(tpm2({ tcti }));
  const record = sampleRecord();
  await storeText(made.keystore, record, "passphrase");
  return { ...made, record, care: { inClear: made.under({ type: "file" }).care } };
}
