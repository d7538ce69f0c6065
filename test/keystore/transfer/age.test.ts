import { execa } from "execa";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decryptWith, encryptFor, requireRecipients } from "../../../src/keystore/transfer/age.js";
import { Secret } from "../../../src/secret/secret.js";
import { temporaryDirectory } from "../../fs/tree.js";

/** A key pair made by age's own program: the identity file, and the recipient in it. */
async function keyPair(): Promise<{ identity: string; recipient: string }> {
  const { stdout: identity } = await execa("age-keygen");
  const recipient = /age1[0-9a-z]+/.exec(identity)?.[0] ?? "";
  return { identity, recipient };
}

const secret = (text: string) => Secret.own(Buffer.from(text));

async function decrypt(identity: string, file: Buffer): Promise<string> {
  using identities = secret(identity);
  using plaintext = await decryptWith(identities, file);
  return plaintext.use(String);
}

async function encrypt(text: string, form: "binary" | "armor", ...recipients: string[]): Promise<Buffer> {
  using plaintext = secret(text);
  return await encryptFor(recipients, plaintext, form);
}

describe.each(["binary", "armor"] as const)("a %s file", (form) => {
  it("is opened by age itself, with the identity of each recipient", async () => {
    const [one, two] = [await keyPair(), await keyPair()];
    const file = await encrypt("the keys", form, one.recipient, two.recipient);
    for (const { identity } of [one, two]) {
      const path = join(temporaryDirectory(), "identity");
      writeFileSync(path, identity);
      const { stdout } = await execa("age", ["-d", "-i", path], { input: file });
      expect(stdout).toBe("the keys");
      expect(await decrypt(identity, file)).toBe("the keys");
    }
  });

  it("that age itself has made is opened", async () => {
    const { identity, recipient } = await keyPair();
    const options = form === "armor" ? ["-a"] : [];
    const { stdout } = await execa("age", [...options, "-r", recipient], {
      input: "by age",
      encoding: "buffer",
    });
    expect(await decrypt(identity, Buffer.from(stdout))).toBe("by age");
  });

  it("is not opened by anybody else", async () => {
    const [one, stranger] = [await keyPair(), await keyPair()];
    const file = await encrypt("the keys", form, one.recipient);
    await expect(decrypt(stranger.identity, file)).rejects.toMatchObject({ code: "IDENTITY_REJECTED" });
  });

  it("is refused as damaged wherever a bit of it is wrong, or its end is missing", async () => {
    const { identity, recipient } = await keyPair();
    const file = await encrypt("the keys", form, recipient);
    for (let at = 0; at < file.length; at += 7) {
      const damaged = Buffer.from(file);
      damaged[at]! ^= 4;
      await expect(decrypt(identity, damaged), `byte ${at}`).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:ESCROW_INVALID|IDENTITY_REJECTED)$/) as string,
      });
    }
    for (const length of [0, 10, file.length - 20]) {
      await expect(decrypt(identity, file.subarray(0, length))).rejects.toMatchObject({
        code: "ESCROW_INVALID",
      });
    }
  });
});

describe("an identity file", () => {
  it.each([
    ["that is empty", ""],
    ["of comments", "# public key: age1…\n\n"],
    ["with another text", "AGE-SECRET-KEY-1NOTAKEY\n"],
    ["that is a recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n"],
  ])("%s is rejected, and not quoted", async (_, text) => {
    const { recipient } = await keyPair();
    const thrown: unknown = await decrypt(text, await encrypt("x", "binary", recipient)).catch(
      (error: unknown) => error,
    );
    expect(thrown).toMatchObject({ code: "IDENTITY_REJECTED" });
    expect(String((thrown as Error).stack)).not.toContain("NOTAKEY");
  });

  it("may hold several, and the lines of Windows", async () => {
    const [one, two] = [await keyPair(), await keyPair()];
    const file = await encrypt("x", "binary", two.recipient);
    const both = `${one.identity}\n${two.identity}`.replaceAll("\n", "\r\n");
    expect(await decrypt(both, file)).toBe("x");
  });
});

describe("recipients", () => {
  it("are taken as age-keygen prints them", async () => {
    await requireRecipients([(await keyPair()).recipient]);
  });

  it.each(["", "age1", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8x", "ssh-ed25519 AAAA"])(
    "are refused before anything is fetched: %j",
    async (recipient) => {
      await expect(requireRecipients([recipient])).rejects.toMatchObject({ code: "USAGE" });
    },
  );

  it("that are somebody's identity are not shown", async () => {
    const line = /AGE-SECRET-KEY-.*/.exec((await keyPair()).identity)?.[0] ?? "";
    const thrown: unknown = await requireRecipients([line]).catch((error: unknown) => error);
    expect((thrown as Error).message).not.toContain(line);
  });
});
