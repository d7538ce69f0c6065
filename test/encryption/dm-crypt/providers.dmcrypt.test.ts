import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { DmCryptLuks } from "../../../src/encryption/dm-crypt/dm-crypt-luks.js";
import { DmCryptPlain } from "../../../src/encryption/dm-crypt/dm-crypt-plain.js";
import { traitsOf } from "../../../src/encryption/traits.js";
import { encryptionProviderContract } from "../../contract/encryption-provider.contract.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";

const runner = new RecordingCommandRunner();

encryptionProviderContract({
  name: "dm-crypt",
  able: true,
  make: (toolPath) => new DmCryptLuks(runner, toolPath),
});
encryptionProviderContract({
  name: "dm-crypt, plain",
  able: true,
  make: (toolPath) => new DmCryptPlain(runner, { enabled: true }, toolPath),
});

describe("traits", () => {
  it("cost no process where the kernel has loaded dm-crypt", async () => {
    runner.commands.length = 0;
    expect(await new DmCryptLuks(runner).traits()).toEqual(traitsOf(["luks", "luksv2"]));
    expect(runner.lines).toEqual([]);
  });

  it("are none of a kernel that lost it and cannot load it, as the programs say that are asked", async () => {
    execFileSync("rmmod", ["dm_crypt"]);
    try {
      runner.commands.length = 0;
      // this kernel's modules are not where modprobe looks
      expect(await new DmCryptLuks(runner).traits()).toEqual([]);
      expect(runner.lines).toEqual(["dmsetup targets", "modprobe --dry-run --quiet -- dm_crypt"]);
    } finally {
      execFileSync("/run/modules/modprobe", ["dm_crypt"]);
    }
  });
});
