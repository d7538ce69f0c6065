import { closeSync, openSync, writeSync, ftruncateSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksFormatter, type LuksImage } from "../../src/encryption/luks-formatter.js";
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

describe("makeHeader", () => {
  it("has cryptsetup make a LUKS1 header with 1000 iterations, on files that have no name", async () => {
    await formatter.makeHeader(uuid, SPEC, passphrase);
    expect(runner.lines).toEqual([
      `cryptsetup luksFormat -q --type luks1 --uuid ${uuid} --cipher aes-xts-plain64 --key-size 512 --hash sha256 ` +
        "--pbkdf-force-iterations 1000 --key-file /proc/self/fd/4 -- /proc/self/fd/3",
    ]);
  });

  it("returns the two pieces from which QEMU opens a volume", async () => {
    const image = await formatter.makeHeader(uuid, SPEC, passphrase);
    expect(image.header).toMatchObject({
      uuid,
      cipher: "aes-xts-plain64",
      keySize: 512,
      payloadOffset: 2 * MIB,
    });
    expect(image.block).toHaveLength(4096);
    expect(image.keyMaterial.offset).toBe(4096);
    expect(image.keyMaterial.bytes).toHaveLength(256_000);

    const filename = join(directory, "volume.img");
    closeSync(written(filename, image));
    const node = { driver: "luks", "key-secret": "key", file: { driver: "file", filename } };
    qemuIo(node, ["write -P 9 0 64k", "read -P 9 0 64k"], passphrase);
  });

  it("makes another volume key and other salts each time", async () => {
    const [one, two] = [
      await formatter.makeHeader(uuid, SPEC, passphrase),
      await formatter.makeHeader(uuid, SPEC, passphrase),
    ];
    expect(one.block.equals(two.block)).toBe(false);
    expect(one.keyMaterial.bytes.equals(two.keyMaterial.bytes)).toBe(false);
  });

  it("fails with cryptsetup's reason for a cipher that there is none of", async () => {
    const spec = { ...SPEC, cipher: "rot13-xts-plain64" };
    expect(await codeOf(formatter.makeHeader(uuid, spec, passphrase))).toBe("TOOL_FAILED");
  });
});

describe("tryPassphrase", () => {
  it("tells the passphrase from others, on an open file", async () => {
    const fd = written(join(directory, "volume.img"), await formatter.makeHeader(uuid, SPEC, passphrase));
    runner.commands.length = 0;
    using wrong = Secret.own(Buffer.from("another passphrase"));
    expect(await formatter.tryPassphrase(fd, passphrase)).toBe("opens");
    expect(await formatter.tryPassphrase(fd, wrong)).toBe("rejected");
    expect(runner.lines[0]).toBe(
      "cryptsetup open --test-passphrase --type luks1 --key-file /proc/self/fd/3 -- /proc/self/fd/4",
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
function written(path: string, { block, keyMaterial }: LuksImage): number {
  const fd = openSync(path, "w+");
  ftruncateSync(fd, 4 * MIB);
  writeSync(fd, block, 0, block.length, 0);
  writeSync(fd, keyMaterial.bytes, 0, keyMaterial.bytes.length, keyMaterial.offset);
  return fd;
}
