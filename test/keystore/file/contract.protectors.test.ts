import { mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import type { ProtectorSettings } from "../../../src/keystore/file/protector.js";
import { keystoreContract } from "../../contract/keystore.contract.js";
import type { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { makeSoftHsm, type SoftHsm } from "../../lab/softhsm.js";
import { startSwtpm, type Swtpm } from "../../lab/swtpm.js";
import { startTang, type TangServer } from "../../lab/tang.js";
import {
  ManagedTpmRunner,
  pkcs11,
  protectedKeystore,
  tang,
  TokenRunner,
  tpm2,
} from "./protectors.fixture.js";

/** The contract of keystores with a master key under `protector`, in a directory for each test. */
function contractUnder(
  name: string,
  make: (directory: string) => { protector: ProtectorSettings; runner?: RecordingCommandRunner },
): void {
  keystoreContract(`file keystore under ${name}`, () => {
    const parent = mkdtempSync(join(tmpdir(), "luksmith-test-"));
    const { protector, runner } = make(parent);
    const { keystore, another } = protectedKeystore(protector, runner, join(parent, "keystore"));
    return Promise.resolve({
      keystore,
      another,
      [Symbol.asyncDispose]: () => rm(parent, { recursive: true }),
    });
  });
}

describe("with a TPM", () => {
  let swtpm: Swtpm;
  beforeAll(async () => {
    swtpm = await startSwtpm();
  });
  afterAll(() => swtpm[Symbol.asyncDispose]());

  contractUnder("tpm2", () => ({ protector: tpm2(swtpm, "7,11") }));
  contractUnder("systemd-creds with tpm2", () => ({
    protector: { type: "systemd-creds", with: "tpm2", tpm2Device: swtpm.tcti, pcrs: "7" },
    runner: new ManagedTpmRunner(swtpm),
  }));
});

describe("with a Tang server", () => {
  let server: TangServer;
  beforeAll(async () => {
    server = await startTang();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  contractUnder("Tang", () => ({ protector: tang([server]) }));
});

describe("with a token", () => {
  let hsm: SoftHsm;
  beforeAll(() => {
    hsm = makeSoftHsm();
  });
  afterAll(() => hsm[Symbol.dispose]());

  contractUnder("pkcs11", (directory) => {
    const pinFile = join(directory, "pin");
    writeFileSync(pinFile, `${hsm.pin}\n`, { mode: 0o600 });
    return { protector: pkcs11(hsm, pinFile), runner: new TokenRunner(hsm) };
  });
});

contractUnder("systemd-creds with the host's key", () => ({
  protector: { type: "systemd-creds", with: "host", pcrs: "7" },
}));
