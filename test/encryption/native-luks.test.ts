import { describe, expect, it } from "vitest";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest, StorageBackend } from "../../src/storage/storage-backend.js";
import { codeOf, SPEC, Workshop } from "../storage/workshop.js";

const BOTH = ["COMPUTE_EPHEMERAL_ENCRYPTION", "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS"];

describe("traits", () => {
  it.each([
    ["2.6.0", "2.2.0", BOTH],
    ["7.2.22", "9.0.0", BOTH],
    ["10.0.0", "11.3.0", BOTH],
    ["10.1.0", undefined, BOTH],
    ["2.5.1", "9.0.0", []],
    ["7.2.22", "2.1.9", []],
    ["", "9.0.0", []],
  ])("of QEMU %s and libvirt %s are %j", async (qemu, libvirt, traits) => {
    expect(await new NativeLuks().traits(() => Promise.resolve({ qemu, libvirt }))).toEqual(traits);
  });

  it("are none on a host that cannot make LUKS headers", async () => {
    const withoutCryptsetup = new NativeLuks((tool) =>
      tool === "cryptsetup" ? undefined : `/usr/bin/${tool}`,
    );
    const versions = () => Promise.resolve({ qemu: "7.2.22", libvirt: "9.0.0" });
    expect(await withoutCryptsetup.traits(versions)).toEqual([]);
    expect(await withoutCryptsetup.obstacles(versions)).toEqual([
      "cryptsetup is missing (apt-get install cryptsetup-bin)",
    ]);
  });
});

describe("format", () => {
  it("formats through the storage backend", async () => {
    using workshop = new Workshop("raw");
    using passphrase = Secret.randomPassphrase();
    const volume = workshop.makeEmpty("disk.img");
    const request: FormatRequest = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase };
    await new NativeLuks().format(workshop.backend, request);
    const header = { uuid: request.uuid, version: 1, cipher: SPEC.cipher, keySize: SPEC.keySize };
    expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks", header });
  });

  it.each([
    ["serpent-xts-plain64", 512, "sha256"],
    ["aes-cbc-essiv:sha256", 512, "sha256"],
    ["aes-xts-plain64", 128, "sha256"],
    ["aes-xts-plain64", 512, "md5"],
  ])("refuses %s with %i bits and %s, and touches nothing", async (cipher, keySize, hash) => {
    using workshop = new Workshop("raw");
    using passphrase = Secret.randomPassphrase();
    const volume = workshop.makeEmpty("disk.img");
    const spec = { ...SPEC, cipher, keySize, hash };
    const format = new NativeLuks().format(workshop.backend, {
      volume,
      uuid: newKeyUuid(),
      spec,
      passphrase,
    });
    expect(await codeOf(format)).toBe("REQUEST_INVALID");
    expect(workshop.runner.lines).toEqual([]);
    expect(await workshop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
  });

  it("refuses a storage backend that does not carry LUKS", async () => {
    using workshop = new Workshop("raw");
    using passphrase = Secret.randomPassphrase();
    const volume = workshop.makeEmpty("disk.img");
    const plainOnly: StorageBackend = Object.assign(workshop.another(), { formats: ["plain"] });
    const format = new NativeLuks().format(plainOnly, { volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
    expect(await codeOf(format)).toBe("VOLUME_UNSUPPORTED");
    expect(workshop.runner.lines).toEqual([]);
  });
});
