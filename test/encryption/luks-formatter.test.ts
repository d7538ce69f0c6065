import { closeSync, openSync, writeSync, ftruncateSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksFormatter } from "../../src/encryption/luks-formatter.js";
import { claimedLuksUuid, luksHeaderLength, readLuksHeader } from "../../src/encryption/luks-header.js";
import type { LuksImage } from "../../src/encryption/luks-image.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { codeOf, MIB, qemuIo, SPEC } from "../storage/workshop.js";

const uuid = newKeyUuid();
let runner: RecordingCommandRunner;
let formatter: LuksFormatter;
let passphrase: Secret;
let directory: string;

beforeEach(() => {
  runner = new RecordingCommandRunner();
  formatter = new LuksFormatter(runner);
  passphrase = Secret.randomPassphrase();
  directory = mkdtempSync(join(tmpdir(), "luksmith-formatter-"));
});
afterEach(() => {
  passphrase.dispose();
  rmSync(directory, { recursive: true });
});

const LUKS2: LuksSpec = { ...SPEC, format: "luksv2" };
/** Every combination that a profile can ask for. */
const SPECS: readonly LuksSpec[] = (["luks", "luksv2"] as const).flatMap((format) => [
  { format, cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" },
  { format, cipher: "aes-xts-plain64", keySize: 256, hash: "sha1" },
  { format, cipher: "aes-cbc-essiv:sha256", keySize: 256, hash: "sha512" },
  { format, cipher: "aes-cbc-essiv:sha256", keySize: 128, hash: "sha256" },
]);

describe("makeHeader", () => {
  it("has cryptsetup make a LUKS1 header with 1000 iterations, on files that have no name", async () => {
    await formatter.makeHeader(uuid, SPEC, passphrase);
    expect(runner.lines).toEqual([
      `cryptsetup luksFormat -q --type luks1 --uuid ${uuid} --cipher aes-xts-plain64 --key-size 512 --hash sha256 ` +
        "--offset 4096 --pbkdf-force-iterations 1000 --key-file /proc/self/fd/4 -- /proc/self/fd/3",
    ]);
  });

  it("has cryptsetup make a LUKS2 header that ends where LUKS1's does, without Argon2", async () => {
    await formatter.makeHeader(uuid, LUKS2, passphrase);
    expect(runner.lines).toEqual([
      "cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --sector-size 512 " +
        `--luks2-metadata-size 16384 --luks2-keyslots-size 2064384 --uuid ${uuid} --cipher aes-xts-plain64 ` +
        "--key-size 512 --hash sha256 --offset 4096 --pbkdf-force-iterations 1000 --key-file /proc/self/fd/4 -- /proc/self/fd/3",
    ]);
  });

  it.each(SPECS)(
    "makes $format with $cipher, $keySize bits and $hash, and cryptsetup opens it",
    async (spec) => {
      const image = await formatter.makeHeader(uuid, spec, passphrase);
      const { cipher, keySize, hash } = spec;
      expect(image.header).toMatchObject({ uuid, cipher, keySize, hash, payloadOffset: 2 * MIB });
      expect(image.header.version).toBe(spec.format === "luks" ? 1 : 2);
      const fd = written(join(directory, "volume.img"), image);
      expect(await formatter.tryPassphrase(fd, passphrase)).toBe("opens");
      closeSync(fd);
    },
  );

  it("returns LUKS2 in pieces that are no header before the last is there", async () => {
    const { pieces, header } = await formatter.makeHeader(uuid, LUKS2, passphrase);
    expect(pieces.map(({ offset, bytes }) => [offset, bytes.length])).toEqual([
      [0, 4096],
      [16_384, 16_384 + 256_000],
      [4096, 12_288],
    ]);
    const container = Buffer.alloc(2 * MIB);
    for (const [index, { offset, bytes }] of pieces.entries()) {
      bytes.copy(container, offset);
      expect(claimedLuksUuid(container)).toBe(uuid);
      const answer = readLuksHeader(container.subarray(0, luksHeaderLength(container)), ["luks", "luksv2"]);
      expect(answer).toMatchObject(index < 2 ? { kind: "bad" } : { kind: "luks", header });
    }
  });

  it("returns the two pieces from which QEMU opens a volume", async () => {
    const image = await formatter.makeHeader(uuid, SPEC, passphrase);
    expect(image.header).toMatchObject({
      uuid,
      cipher: "aes-xts-plain64",
      keySize: 512,
      payloadOffset: 2 * MIB,
    });
    expect(image.pieces.map(({ offset, bytes }) => [offset, bytes.length])).toEqual([
      [0, 4096],
      [4096, 256_000],
    ]);

    const filename = join(directory, "volume.img");
    closeSync(written(filename, image));
    const node = { driver: "luks", "key-secret": "key", file: { driver: "file", filename } };
    qemuIo(node, ["write -P 9 0 64k", "read -P 9 0 64k"], passphrase);
  });

  it.each([SPEC, LUKS2])("makes another volume key and other salts each time for $format", async (spec) => {
    const one = await formatter.makeHeader(uuid, spec, passphrase);
    const two = await formatter.makeHeader(uuid, spec, passphrase);
    for (const [index, { bytes }] of one.pieces.entries())
      expect(two.pieces[index]?.bytes.equals(bytes)).toBe(false);
  });

  it("fails with cryptsetup's reason for a cipher that there is none of", async () => {
    const spec = { ...SPEC, cipher: "rot13-xts-plain64" };
    expect(await codeOf(formatter.makeHeader(uuid, spec, passphrase))).toBe("TOOL_FAILED");
  });
});

describe("tryPassphrase", () => {
  it.each([SPEC, LUKS2])("tells the passphrase from others, on an open file of $format", async (spec) => {
    const fd = written(join(directory, "volume.img"), await formatter.makeHeader(uuid, spec, passphrase));
    runner.commands.length = 0;
    using wrong = Secret.own(Buffer.from("another passphrase"));
    expect(await formatter.tryPassphrase(fd, passphrase)).toBe("opens");
    expect(await formatter.tryPassphrase(fd, wrong)).toBe("rejected");
    expect(runner.lines[0]).toBe(
      "cryptsetup open --test-passphrase --type luks --key-file /proc/self/fd/3 -- /proc/self/fd/4",
    );
    closeSync(fd);
  });

  it("does not call a volume's own trouble a wrong passphrase", async () => {
    const fd = openSync(join(directory, "empty.img"), "w+");
    ftruncateSync(fd, 4 * MIB);
    expect(await codeOf(formatter.tryPassphrase(fd, passphrase))).toBe("TOOL_FAILED");
    closeSync(fd);
  });
});

/** A volume of 4 MiB that begins with the header, open. */
function written(path: string, { pieces }: LuksImage): number {
  const fd = openSync(path, "w+");
  ftruncateSync(fd, 4 * MIB);
  for (const { offset, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, offset);
  return fd;
}
