import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decryptPlain } from "../../src/adopt/plain-sectors.js";
import { Secret } from "../../src/secret/secret.js";
import { LoopDevice } from "../lab/loop-device.js";

const NAME = "luksmith-plain-test";
const SIZE = 1024 * 1024;

/** What the kernel writes to a plain volume that cryptsetup has opened with this passphrase. */
function encryptedByKernel(plaintext: Buffer, options: readonly string[], passphrase: string): Buffer {
  using loop = new LoopDevice(SIZE);
  const open = ["open", "--type=plain", ...options, "--key-file=-", loop.path, NAME];
  execFileSync("cryptsetup", open, { input: passphrase });
  try {
    writeFileSync(`/dev/mapper/${NAME}`, plaintext);
  } finally {
    execFileSync("cryptsetup", ["close", NAME]);
  }
  return readFileSync(loop.path);
}

const KINDS = [
  { cipher: "aes-xts-plain64", keySize: 512 },
  { cipher: "aes-xts-plain64", keySize: 256 },
  { cipher: "aes-cbc-essiv:sha256", keySize: 256 },
  { cipher: "aes-cbc-essiv:sha256", keySize: 128 },
].flatMap((kind) => ["ripemd160", "sha256", "sha512"].map((hash) => ({ ...kind, hash })));

test.each(KINDS)("$cipher with $keySize bits and $hash is decrypted as the kernel encrypts it", (spec) => {
  const plaintext = randomBytes(SIZE);
  const text = randomBytes(64).toString("hex");
  const { cipher, keySize, hash } = spec;
  const options = [`--cipher=${cipher}`, `--key-size=${keySize}`, `--hash=${hash}`];
  const encrypted = encryptedByKernel(plaintext, options, text);
  using passphrase = Secret.own(Buffer.from(text));

  expect(encrypted.equals(plaintext)).toBe(false);
  expect(decryptPlain(encrypted, spec, passphrase)?.equals(plaintext)).toBe(true);
});

test("Nova's own command, which names no hash, is ripemd160 until cryptsetup 2.7", () => {
  const plaintext = randomBytes(SIZE);
  const version = /cryptsetup (\d+)\.(\d+)/.exec(
    execFileSync("cryptsetup", ["--version"], { encoding: "utf8" }),
  );
  const isNew = Number(version?.[1]) > 2 || Number(version?.[2]) >= 7;
  const encrypted = encryptedByKernel(plaintext, ["--cipher=aes-xts-plain64", "--key-size=512"], "0123");
  using passphrase = Secret.own(Buffer.from("0123"));
  const spec = { cipher: "aes-xts-plain64", keySize: 512, hash: isNew ? "sha256" : "ripemd160" };

  expect(decryptPlain(encrypted, spec, passphrase)?.equals(plaintext)).toBe(true);
});
