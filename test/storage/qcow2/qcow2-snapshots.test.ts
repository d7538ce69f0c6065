import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LuksHeader } from "../../../src/encryption/luks-header.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest } from "../../../src/storage/storage-backend.js";
import { headerOf, makeBase, makeOverlay } from "./overlays.js";
import { checkByQemu, qemuIo, run, withKey } from "../qemu.js";
import { codeOf, type FileVolume, MIB, sha256, SPEC, Workshop } from "../workshop.js";

let workshop: Workshop;
let volume: FileVolume;
let request: FormatRequest;
let header: LuksHeader;

beforeEach(async () => {
  workshop = new Workshop("qcow2");
  volume = workshop.makeEmpty("disk.img");
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
  header = await workshop.backend.createEncrypted(request);
});
afterEach(() => {
  request.passphrase.dispose();
  workshop[Symbol.dispose]();
});

const node = () => workshop.backend.qemuNode(volume, "key");
const asGuest = (...commands: string[]) => qemuIo(node(), commands, request.passphrase);

/** As docs/storage/qcow2.md tells an administrator to do it. */
function snapshot(...args: string[]): string {
  const file = `driver=qcow2,file.driver=file,file.filename=${volume.path}`;
  const image = `${file},encrypt.format=luks,encrypt.key-secret=key`;
  return withKey(request.passphrase, (key) =>
    run("qemu-img", ["snapshot", ...key, "--image-opts", ...args, image]),
  );
}

/** Header and key are what they were, and a further format changes nothing. */
async function expectSameKey(): Promise<void> {
  for (const depth of ["header", "allocation-map", "read"] as const) {
    expect(await workshop.backend.probe(volume, depth)).toEqual({ kind: "luks", header });
  }
  await workshop.backend.testPassphrase(volume, request.passphrase);
  using wrong = Secret.randomPassphrase();
  expect(await codeOf(workshop.backend.testPassphrase(volume, wrong))).toBe("PASSPHRASE_REJECTED");
  const before = sha256(volume.path);
  expect(await workshop.backend.createEncrypted(request)).toEqual(header);
  expect(sha256(volume.path)).toBe(before);
}

describe("an encrypted qcow2 image with internal snapshots", () => {
  it("goes back to one and keeps its key, while no guest runs", async () => {
    asGuest("write -P 1 0 1M");
    snapshot("-c", "first");
    asGuest("write -P 2 0 1M", "write -P 2 4M 1M");
    snapshot("-c", "second");
    await expectSameKey();
    expect(headerOf(volume).snapshots).toBe(2);

    snapshot("-a", "first");
    await expectSameKey();
    asGuest("read -P 1 0 1M", "read -P 0 4M 1M", "write -P 3 0 1M");
    snapshot("-a", "second");
    asGuest("read -P 2 0 1M", "read -P 2 4M 1M");
    expect(snapshot("-l")).toMatch(/first[^]*second/);

    snapshot("-d", "first");
    snapshot("-d", "second");
    await expectSameKey();
    asGuest("read -P 2 0 1M");
    checkByQemu(node(), request.passphrase);
  });

  it("is closed to whoever has no passphrase: none is made, listed or gone back to", () => {
    const before = sha256(volume.path);
    for (const args of [["-c", "s"], ["-l"], ["-a", "s"]]) {
      expect(() => run("qemu-img", ["snapshot", ...args, volume.path])).toThrow(/key-secret/);
    }
    expect(sha256(volume.path)).toBe(before);
  });

  it("gets one of its disk alone while a guest runs", async () => {
    asGuest("write -P 1 0 1M");
    const command = {
      execute: "blockdev-snapshot-internal-sync",
      arguments: { device: "disk", name: "live" },
    };
    expect(whileGuestRuns(command)).toBe("quit");
    await expectSameKey();
    asGuest("write -P 2 0 1M");
    snapshot("-a", "live");
    asGuest("read -P 1 0 1M");
    checkByQemu(node(), request.passphrase);
  });

  it("outlives one with the guest's memory, over which QEMU may crash", async () => {
    asGuest("write -P 1 0 1M");
    const command = { execute: "human-monitor-command", arguments: { "command-line": "savevm s" } };
    expect(["quit", "crashed"]).toContain(whileGuestRuns(command));
    await expectSameKey();
    asGuest("read -P 1 0 1M", "write -P 2 0 1M");
  });
});

it("an encrypted qcow2 overlay goes back to an internal snapshot, and its base stays as it is", async () => {
  const base = makeBase(join(workshop.directory, "base.img"));
  const before = sha256(base.path);
  makeOverlay(volume, base.path);
  header = await workshop.backend.createEncrypted(request);
  snapshot("-c", "new");
  asGuest("write -P 2 0 1M");
  snapshot("-a", "new");
  await expectSameKey();
  asGuest(`read -P 0x41 0 ${8 * MIB}`);
  checkByQemu(node(), request.passphrase);
  expect(sha256(base.path)).toBe(before);
});

/** Has a running guest's QEMU do something with its disk, and end then. */
function whileGuestRuns(command: object): "quit" | "crashed" {
  return withKey(request.passphrase, (key) => {
    const disk = JSON.stringify({ ...node(), "node-name": "disk" });
    const machine = [
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-machine",
      "q35,accel=tcg",
      "-m",
      "32",
    ];
    const devices = ["-blockdev", disk, "-device", "virtio-blk-pci,drive=disk", "-qmp", "stdio"];
    const commands = [{ execute: "qmp_capabilities" }, command, { execute: "quit" }];
    try {
      const output = execFileSync("qemu-system-x86_64", [...machine, ...key, ...devices], {
        input: commands.map((each) => JSON.stringify(each)).join("\n"),
        stdio: ["pipe", "pipe", "pipe"],
        encoding: "utf8",
      });
      if (output.includes('"error"')) throw new Error(output);
      return "quit";
    } catch (thrown) {
      if ((thrown as { signal?: string }).signal === "SIGABRT") return "crashed";
      throw thrown;
    }
  });
}
