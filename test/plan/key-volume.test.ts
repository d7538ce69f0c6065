import { execa } from "execa";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { probeKeyVolume } from "../../src/plan/key-volume.js";
import { Secret } from "../../src/secret/secret.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { temporaryDirectory } from "../fs/tree.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { record, uuid } from "./builders.js";

const SPEC = { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" } as const;
const MIB = 1024 * 1024;
const runner = new ExecaCommandRunner();
let directory: string;
let path: string;

beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory, "web1.img");
});

const storage = () =>
  createStorageRegistry(runner, DEFAULT_STORAGE, new VolumeLocks(runner, join(directory, "lock")));
const secret = (text: string) => Secret.own(Buffer.from(text));

/** What the volume says about key 7, whose passphrase is "mine". */
async function ask(volume = path) {
  using passphrase = secret("mine");
  return await probeKeyVolume({ record: { ...record(7, "vda", "active"), volume }, passphrase }, storage());
}

/** Something that was written to the volume, behind its header. */
async function filled(format: "raw" | "qcow2"): Promise<void> {
  if (format === "qcow2") return;
  await execa("dd", [
    "if=/dev/urandom",
    `of=${path}`,
    "bs=1M",
    "seek=5",
    "count=1",
    "conv=notrunc",
    "status=none",
  ]);
}

/** A real volume under key `n`. */
async function encrypted(format: "raw" | "qcow2", n: number, text: string): Promise<void> {
  await execa("qemu-img", ["create", "-q", "-f", format, path, String(8 * MIB)]);
  using passphrase = secret(text);
  const volume = { kind: "file", path, format } as const;
  const backend = await storage().backendFor(volume);
  await backend.createEncrypted({ volume, uuid: uuid(n), spec: SPEC, passphrase });
}

describe.each(["raw", "qcow2"] as const)("a %s volume", (format) => {
  it("uses the key whose LUKS header it has", async () => {
    await encrypted(format, 7, "mine");
    expect(await ask()).toMatchObject({ kind: "uses-key", why: "its LUKS header has the key's UUID" });
  });

  it("uses a key whose passphrase opens it, whatever its header is called", async () => {
    await encrypted(format, 8, "mine");
    expect(await ask()).toMatchObject({ kind: "uses-key", why: "the passphrase opens it" });
  });

  it("under another key is free of this one", async () => {
    await encrypted(format, 8, "another");
    expect(await ask()).toEqual({ kind: "free" });
  });

  it("without a header is free", async () => {
    await execa("qemu-img", ["create", "-q", "-f", format, path, String(8 * MIB)]);
    expect(await ask()).toEqual({ kind: "free" });
  });
});

describe("a volume", () => {
  it.each([
    ["raw", "zeros", "/dev/zero"],
    ["raw", "data", "/dev/urandom"],
    ["qcow2", "data", "/dev/urandom"],
  ] as const)(
    "(%s) whose header was overwritten with %s may need the key still",
    async (format, _, source) => {
      await encrypted(format, 7, "mine");
      await filled(format);
      await execa("dd", [`if=${source}`, `of=${path}`, "bs=1M", "count=3", "conv=notrunc", "status=none"]);
      expect(await ask()).toEqual({ kind: "data" });
    },
  );

  it("whose damaged header claims the key's UUID uses it", async () => {
    await encrypted("raw", 7, "mine");
    await execa("dd", [
      "if=/dev/zero",
      `of=${path}`,
      "bs=1",
      "seek=40",
      "count=32",
      "conv=notrunc",
      "status=none",
    ]);
    expect(await ask()).toMatchObject({ kind: "uses-key" });
  });

  it.each<[what: string, make: () => void, kind: string]>([
    ["that holds other data", () => writeFileSync(path, "data ".repeat(1000)), "data"],
    ["that is empty", () => writeFileSync(path, Buffer.alloc(MIB)), "free"],
    ["that is not there", () => undefined, "absent"],
    ["that is a directory now", () => mkdirSync(path), "unreadable"],
  ])("%s is said to be so", async (_, make, kind) => {
    make();
    expect(await ask()).toMatchObject({ kind });
  });

  it.each([
    ["of a device that is not there", "/dev/luksmith-nowhere/web1", "absent"],
    ["of a name that nobody knows", "nbd://server/export", "unreadable"],
  ])("%s: %s", async (_, name, kind) => {
    expect(await ask(name)).toMatchObject({ kind });
  });
});
