import { describe, expect, it } from "vitest";
import { DmCryptLuks } from "../../src/encryption/dm-crypt/dm-crypt-luks.js";
import { DmCryptPlain } from "../../src/encryption/dm-crypt/dm-crypt-plain.js";
import type { EncryptionProvider } from "../../src/encryption/encryption-provider.js";
import { EncryptionProviders, type EngineChoice } from "../../src/encryption/encryption-providers.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import { traitsOf } from "../../src/encryption/traits.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import type { Volume } from "../../src/storage/volume.js";
import { encryptionProviderContract } from "../contract/encryption-provider.contract.js";
import { FakeDmCrypt } from "../fake/fake-dm-crypt.js";
import { codeOf } from "../storage/workshop.js";

const runner = new ExecaCommandRunner();
const ON = { enabled: true };

encryptionProviderContract({ name: "native", able: true, make: (toolPath) => new NativeLuks(toolPath) });
// this machine's kernel has no device-mapper: User-Mode Linux has it
encryptionProviderContract({
  name: "dm-crypt",
  able: false,
  make: (toolPath) => new DmCryptLuks(runner, toolPath),
});
encryptionProviderContract({
  name: "dm-crypt, plain",
  able: false,
  make: (toolPath) => new DmCryptPlain(runner, ON, toolPath),
});

describe("choosing", () => {
  const raw: Volume = { kind: "file", path: "/images/a.img", format: "raw" };
  const qcow2: Volume = { ...raw, format: "qcow2" };
  const rbd: Volume = { kind: "rbd", pool: "p", image: "i", format: "raw" };
  const NEW = { qemu: "7.2.22", libvirt: "9.0.0" };
  const OLD = { qemu: "2.5.0", libvirt: "2.0.0" };
  const all = [new NativeLuks(), new FakeDmCrypt(), new DmCryptPlain(runner, ON)];

  async function chosen(
    [format, choice, volume, host]: readonly [EncryptionFormat, EngineChoice, Volume, typeof NEW],
    providers: readonly EncryptionProvider[] = all,
  ) {
    const versions = () => Promise.resolve(host);
    return (await new EncryptionProviders(providers).choose({ volume, format, choice, versions })).name;
  }

  it.each([
    ["luks", "auto", raw, NEW, "native"],
    ["luks", "auto", raw, OLD, "dm-crypt"],
    ["luks", "dm-crypt", raw, NEW, "dm-crypt"],
    ["luks", "native", raw, NEW, "native"],
    ["luks", "auto", qcow2, NEW, "native"],
    ["luks", "auto", rbd, NEW, "native"],
    ["luksv2", "auto", raw, NEW, "dm-crypt"],
  ] as const)("%s by %s of %j gives, with %j, %s", async (format, choice, volume, host, name) => {
    expect(await chosen([format, choice, volume, host])).toBe(name);
  });

  it.each([
    ["luks", "native", raw, OLD, "TRAIT_MISSING"],
    ["luks", "dm-crypt", qcow2, NEW, "VOLUME_UNSUPPORTED"],
    ["luks", "dm-crypt", rbd, NEW, "VOLUME_UNSUPPORTED"],
    ["luksv2", "auto", qcow2, NEW, "VOLUME_UNSUPPORTED"],
    ["luksv2", "native", raw, NEW, "TRAIT_MISSING"],
    ["luks", "auto", qcow2, OLD, "TRAIT_MISSING"],
    // here, where the kernel lacks dm-crypt
    ["plain", "auto", raw, NEW, "TRAIT_MISSING"],
  ] as const)("%s by %s of %j is refused, with %j, as %s", async (format, choice, volume, host, code) => {
    expect(await codeOf(chosen([format, choice, volume, host]))).toBe(code);
  });

  it("is the same whoever is first in the list where one alone can", async () => {
    expect(await chosen(["luksv2", "auto", raw, NEW], [...all].reverse())).toBe("dm-crypt");
  });

  it("gives the one that a disk is annotated for, and no other", () => {
    const providers = new EncryptionProviders(all);
    expect(providers.get("dm-crypt", "luks")).toBe(all[1]);
    expect(providers.get("dm-crypt", "plain")).toBe(all[2]);
    expect(() => providers.get("native", "luksv2")).toThrow(
      expect.objectContaining({ code: "TRAIT_MISSING" }) as Error,
    );
  });

  it("knows what all of them promise together, each once", async () => {
    const versions = () => Promise.resolve(NEW);
    const providers = new EncryptionProviders(all);
    expect(await providers.traits(versions)).toEqual(traitsOf(["luks", "luksv2"]));
    expect(await providers.traitsBy("native", versions)).toEqual(traitsOf(["luks"]));
  });
});

it("plain dm-crypt is not offered where the settings do not switch it on, and no program is started for that", async () => {
  const nobody = {
    run: () => Promise.reject(new Error("started")),
    hold: () => Promise.reject(new Error("started")),
  };
  expect(await new DmCryptPlain(nobody, { enabled: false }).traits()).toEqual([]);
});
