import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CopyRequest, VolumeCopier } from "../../src/convert/volume-copier.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { type Command, ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { Secret } from "../../src/secret/secret.js";
import type { QemuNode } from "../../src/storage/storage-backend.js";

const MIB = 1024 * 1024;
const PASSPHRASE = "a passphrase";

class Recorder extends ExecaCommandRunner {
  readonly commands: Command[] = [];

  override run(command: Command) {
    this.commands.push(command);
    return super.run(command);
  }
}

const runner = new Recorder();
const copier = new VolumeCopier(runner);
let directory: string;
let passphrase: Secret;
let lock: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  passphrase = Secret.own(Buffer.from(PASSPHRASE));
  lock = openSync("/dev/null", "r");
  runner.commands.length = 0;
});
afterEach(() => {
  passphrase.dispose();
  closeSync(lock);
  rmSync(directory, { recursive: true });
});

const at = (name: string) => join(directory, name);
const fileNode = (path: string): QemuNode => ({ driver: "file", filename: path });

/** A disk whose bytes are data, zeros and data again, and an encrypted volume that is as large and reads as garbage. */
function world(data = contents()): CopyRequest {
  writeFileSync(at("source,with comma"), data);
  makeLuks(at("target"), data.length);
  const luks = { driver: "luks", "key-secret": "target", file: fileNode(at("target")) };
  return {
    source: { node: () => fileNode(at("source,with comma")), secrets: [] },
    target: { node: () => luks, secrets: [{ id: "target", passphrase }] },
    size: BigInt(data.length),
    lock,
  };
}

function openedAndRemoved(path: string): { readonly fd: number } {
  const fd = openSync(path, "r");
  rmSync(path);
  return { fd };
}

function makeLuks(path: string, size: number): void {
  writeFileSync(path, "");
  truncateSync(path, 2 * MIB + size);
  const format = [
    "luksFormat",
    "-q",
    "--type=luks1",
    "--cipher=aes-xts-plain64",
    "--pbkdf-force-iterations=1000",
  ];
  execFileSync("cryptsetup", [...format, path, "-"], { input: PASSPHRASE });
}

function contents(): Buffer {
  const third = randomBytes(MIB / 4);
  return Buffer.concat([third, Buffer.alloc(MIB / 2), third]);
}

/** What the guest would see of the encrypted volume, by QEMU alone. */
function decrypted(): Buffer {
  const from = `driver=luks,key-secret=s,file.filename=${at("target")}`;
  const secret = ["--object", `secret,id=s,data=${PASSPHRASE}`];
  execFileSync("qemu-img", ["convert", ...secret, "--image-opts", from, "-O", "raw", at("decrypted")]);
  return readFileSync(at("decrypted"));
}

describe("a copy into an encrypted volume", () => {
  test("has every byte, zeros as well", async () => {
    const request = world();
    await copier.copy(request);

    expect(decrypted().equals(readFileSync(at("source,with comma")))).toBe(true);
    expect(await copier.compare(request)).toBe("same");
  });

  test("is made of an open file, wherever its path leads by now", async () => {
    const request = world();
    const { fd } = openedAndRemoved(at("source,with comma"));
    try {
      await copier.copy({ ...request, source: { node: fileNode, fd, secrets: [] } });
      expect(decrypted().equals(readFileSync(`/proc/self/fd/${fd}`))).toBe(true);
    } finally {
      closeSync(fd);
    }
  });

  test("leaves what the target has behind the end alone", async () => {
    const request = world();
    await copier.copy(request);
    const last = decrypted().subarray(MIB / 2);
    writeFileSync(at("source,with comma"), randomBytes(MIB / 2));
    await copier.copy({ ...request, size: BigInt(MIB / 2) });

    expect(
      decrypted()
        .subarray(0, MIB / 2)
        .equals(readFileSync(at("source,with comma"))),
    ).toBe(true);
    expect(
      decrypted()
        .subarray(MIB / 2)
        .equals(last),
    ).toBe(true);
    expect(await copier.compare({ ...request, size: BigInt(MIB / 2) })).toBe("same");
  });

  test("says how far it is", async () => {
    const request = world();
    const heard: number[] = [];
    await copier.copy(request, (percent) => heard.push(percent));

    expect(heard.at(-1)).toBe(100);
    expect([...heard]).toEqual([...new Set(heard)].sort((a, b) => a - b));
  });

  test("shows the passphrase to nobody, and hands the lock on", async () => {
    const request = world();
    await copier.copy(request);
    await copier.compare(request);

    expect(JSON.stringify(runner.commands)).not.toContain(PASSPHRASE);
    expect(runner.commands.map(({ fds }) => fds?.at(-1))).toEqual([lock, lock]);
  });

  test.each([
    ["source", "source,with comma"],
    ["target", "target"],
  ])("fails where the %s is too small, and writes nothing", async (_, name) => {
    const request = world();
    truncateSync(at(name), readFileSync(at(name)).length - MIB / 2);
    const before = readFileSync(at("target"));

    await expect(copier.copy(request)).rejects.toThrow(LuksmithError);
    expect(readFileSync(at("target")).equals(before)).toBe(true);
  });

  test("fails where the source cannot be read, and says so", async () => {
    const request = world();
    const broken = { driver: "blkdebug", "inject-error.0.event": "read_aio", "inject-error.0.errno": 5 };
    const node = { ...broken, image: fileNode(at("source,with comma")) };
    const failure = copier.copy({ ...request, source: { node: () => node, secrets: [] } });

    await expect(failure).rejects.toMatchObject({ code: "TOOL_FAILED" });
    await expect(failure).rejects.toHaveProperty("why", expect.stringContaining("Input/output error"));
  });
});

test("one byte that differs is found", async () => {
  const request = world();
  await copier.copy(request);
  const data = readFileSync(at("source,with comma"));
  data[MIB - 1]! ^= 1;
  writeFileSync(at("source,with comma"), data);

  expect(await copier.compare(request)).toBe("different");
});
