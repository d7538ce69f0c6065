import { createCipheriv, createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { fittingKey } from "../../src/adopt/fitting-key.js";
import { START } from "../../src/adopt/known-content.js";
import { decryptPlain } from "../../src/adopt/plain-sectors.js";
import { Secret } from "../../src/secret/secret.js";

const SETTINGS = { enabled: false, cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" } as const;

/** plain-sectors.dmcrypt.test.ts shows that the kernel does the same. */
function encrypt(plaintext: Buffer, passphrase: Buffer, hash: string): Buffer {
  const rounds = [0, 1, 2, 3].map((n) => createHash(hash).update("A".repeat(n)).update(passphrase).digest());
  const key = Buffer.concat(rounds).subarray(0, 64);
  const sectors = Array.from({ length: plaintext.length / 512 }, (_, number) => {
    const iv = Buffer.alloc(16);
    iv.writeUInt32LE(number);
    const cipher = createCipheriv("aes-256-xts", key, iv);
    return cipher.update(plaintext.subarray(number * 512, (number + 1) * 512));
  });
  return Buffer.concat(sectors);
}

function diskWithGpt(): Buffer {
  const start = Buffer.alloc(START);
  start.write("EFI PART", 512);
  return start;
}

describe("the key of a plain volume", () => {
  test.each(["ripemd160", "sha256", "sha512"])("is known by what it decrypts, with %s", (hash) => {
    const text = Buffer.from("00ff".repeat(32));
    const start = encrypt(diskWithGpt(), text, hash);
    using passphrase = Secret.own(Buffer.from(text));

    expect(fittingKey(start, SETTINGS, passphrase)).toEqual({
      spec: { format: "plain", cipher: "aes-xts-plain64", keySize: 512, hash },
      content: "GPT partition table",
    });
  });

  test("does not fit another volume, or one that is empty", () => {
    using passphrase = Secret.own(Buffer.from("00ff".repeat(32)));
    const start = encrypt(diskWithGpt(), Buffer.from("11ff".repeat(32)), "ripemd160");

    expect(fittingKey(start, SETTINGS, passphrase)).toBeUndefined();
    expect(fittingKey(Buffer.alloc(START), SETTINGS, passphrase)).toBeUndefined();
    expect(fittingKey(Buffer.alloc(0), SETTINGS, passphrase)).toBeUndefined();
  });

  test("stays what it was", () => {
    using passphrase = Secret.own(Buffer.from("00ff".repeat(32)));
    fittingKey(encrypt(diskWithGpt(), Buffer.from("x"), "sha256"), SETTINGS, passphrase);

    expect(passphrase.use((bytes) => bytes.toString())).toBe("00ff".repeat(32));
  });

  test.each([
    { cipher: "serpent-xts-plain64", hash: "sha256" },
    { cipher: "aes-xts-plain64", hash: "whirlpool" },
  ])("is not tried with $cipher and $hash, which are none of the settings'", (spec) => {
    using passphrase = Secret.own(Buffer.from("x"));

    expect(decryptPlain(Buffer.alloc(512), { keySize: 512, ...spec }, passphrase)).toBeUndefined();
  });
});
