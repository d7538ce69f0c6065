import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LuksHeader } from "../../../src/encryption/luks-header.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest, GrowRequest } from "../../../src/storage/storage-backend.js";
import { headerOf, makeBase, makeOverlay } from "./overlays.js";
import { checkByQemu, guestSizeByQemu, qemuIo, run, withKey } from "../qemu.js";
import { whileOpen } from "../running-guest.js";
import { codeOf, type FileVolume, makeFifo, MIB, sha256, SPEC, Workshop } from "../workshop.js";

let workshop: Workshop;
let volume: FileVolume;
let request: FormatRequest;
let header: LuksHeader;

beforeEach(() => {
  workshop = new Workshop("qcow2");
  volume = { kind: "file", path: at("disk.img"), format: "qcow2" };
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
});
afterEach(() => {
  request.passphrase.dispose();
  workshop[Symbol.dispose]();
});

const at = (name: string) => join(workshop.directory, name);
const node = () => workshop.backend.qemuNode(volume, "key");
const asGuest = (...commands: string[]) => qemuIo(node(), commands, request.passphrase);
const shown = () => guestSizeByQemu(node(), request.passphrase);

const grow = (mib: number, more: Partial<GrowRequest> = {}) =>
  workshop.backend.grow({ ...request, header, guestSize: BigInt(mib * MIB), guest: "stopped", ...more });

async function format(): Promise<void> {
  header = await workshop.backend.createEncrypted(request);
}

async function expectRefusal(code: string, attempt: () => Promise<unknown>): Promise<void> {
  const before = workshop.state();
  expect(await codeOf(attempt())).toBe(code);
  expect(workshop.state()).toEqual(before);
}

describe("an encrypted qcow2 image", () => {
  beforeEach(async () => {
    workshop.makeEmpty("disk.img");
    await format();
    asGuest("write -P 5 7M 1M");
  });

  it("grows by QEMU's own hand, which gets the passphrase by a descriptor", async () => {
    workshop.runner.commands.length = 0;
    expect(await grow(12)).toBe(BigInt(12 * MIB));
    expect(shown()).toBe(BigInt(12 * MIB));
    asGuest("read -P 5 7M 1M", "read -P 0 8M 4M", "write -P 6 8M 4M");
    checkByQemu(node(), request.passphrase);
    expect(workshop.runner.lines).toEqual([
      "flock -x -w 60 -E 75 3",
      'qemu-img resize -q --object secret,id=key,file=/proc/self/fd/3 -- json:{"driver":"qcow2","encrypt":' +
        '{"format":"luks","key-secret":"key"},"file":{"driver":"file","filename":"/proc/self/fd/4"},"backing":null} ' +
        "12582912",
    ]);
  });

  it("grows to whole sectors", async () => {
    expect(await grow(12, { guestSize: 12_000_001n })).toBe(12_000_256n);
    expect(shown()).toBe(12_000_256n);
  });

  it("is left to the QEMU of a running guest, which is told how much", async () => {
    const before = workshop.state();
    workshop.runner.commands.length = 0;
    expect(await grow(12, { guest: "running", guestSize: 12_000_001n })).toBe(12_000_256n);
    expect(workshop.state()).toEqual(before);
    expect(workshop.runner.lines).toEqual(["flock -x -w 60 -E 75 3"]);
  });

  it("grows with its internal snapshot, which keeps its own size", async () => {
    snapshot("-c", "s");
    await grow(12);
    asGuest("write -P 6 7M 5M");
    snapshot("-a", "s");
    asGuest("read -P 5 7M 1M");
    expect(shown()).toBe(BigInt(8 * MIB));
  });

  it.each<[string, string, () => Promise<unknown>]>([
    ["a smaller size", "VOLUME_WOULD_SHRINK", () => grow(7)],
    ["a smaller size while its guest runs", "VOLUME_WOULD_SHRINK", () => grow(7, { guest: "running" })],
    ["more than there can be", "VOLUME_GROW_FAILED", () => grow(2 ** 40)],
    [
      "the header of another volume",
      "LUKS_UUID_MISMATCH",
      () => grow(12, { header: { ...header, uuid: newKeyUuid() } }),
    ],
    [
      "another passphrase",
      "PASSPHRASE_REJECTED",
      async () => {
        using passphrase = Secret.randomPassphrase();
        await grow(12, { passphrase });
      },
    ],
  ])("refuses %s", async (_, code, attempt) => {
    await expectRefusal(code, attempt);
  });

  it("refuses while a guest has it open that is said to be stopped", async () => {
    await whileOpen(node(), () => expectRefusal("VOLUME_BUSY", () => grow(12)), request.passphrase);
  });

  it("is no image that was never formatted", async () => {
    const plain = workshop.makeEmpty("plain.img");
    await expectRefusal("VOLUME_NOT_FORMATTED", () => grow(12, { volume: plain }));
    await expectRefusal("VOLUME_NOT_FOUND", () => grow(12, { volume: workshop.absent() }));
  });

  it("of version 2 with an internal snapshot is refused, as by QEMU", async () => {
    workshop.makeEmpty("disk.img", 8 * MIB, "compat=0.10");
    await format();
    snapshot("-c", "s");
    await expectRefusal("VOLUME_GROW_FAILED", () => grow(12));
  });
});

describe("an encrypted qcow2 overlay", () => {
  const base = () => at("base.img");

  async function overlay(size: number, options?: string): Promise<void> {
    makeOverlay(volume, base(), { size, ...(options !== undefined && { options }) });
    await format();
  }

  it.each([
    ["as large as", 8],
    ["smaller than", 4],
    ["larger than", 20],
  ])("over a base %s itself shows nothing of it behind its old end", async (_, mib) => {
    makeBase(base(), { size: mib * MIB });
    const before = sha256(base());
    await overlay(8 * MIB);
    asGuest("write -P 5 1M 1M");
    const { backing } = headerOf(volume);
    await grow(16);
    expect(headerOf(volume).backing).toEqual(backing);
    const shared = Math.min(mib, 8);
    asGuest("read -P 0x41 0 1M", "read -P 5 1M 1M", `read -P 0x41 2M ${shared - 2}M`, "read -P 0 8M 8M");
    checkByQemu(node(), request.passphrase);
    expect(sha256(base())).toBe(before);
  });

  it("grows although nobody can open its base", async () => {
    makeFifo(base());
    await overlay(8 * MIB);
    await grow(16);
    expect(headerOf(volume).size).toBe(16 * MIB);
  });

  it.each<[string, number, string | undefined]>([
    ["ends within a cluster", 8 * MIB + 512, undefined],
    ["has version 2", 8 * MIB, "compat=0.10"],
  ])("that %s is left to its guest's QEMU", async (_, size, options) => {
    makeBase(base(), { size: 20 * MIB });
    await overlay(size, options);
    await expectRefusal("VOLUME_GROW_FAILED", () => grow(16));
    asGuest(`read -P 0x41 0 ${size}`);
  });
});

/** As an administrator does it while the guest is shut off. */
function snapshot(action: "-c" | "-a", name: string): void {
  const file = `driver=qcow2,file.driver=file,file.filename=${volume.path}`;
  const image = `${file},encrypt.format=luks,encrypt.key-secret=key`;
  withKey(request.passphrase, (key) =>
    run("qemu-img", ["snapshot", ...key, "--image-opts", action, name, image]),
  );
}
