import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "../../../src/exec/command-runner.js";
import { FileKeystore } from "../../../src/keystore/file/file-keystore.js";
import { KeystoreCare } from "../../../src/keystore/file/care.js";
import type { ProtectorSettings } from "../../../src/keystore/file/protector.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import type { SoftHsm } from "../../lab/softhsm.js";
import type { Swtpm } from "../../lab/swtpm.js";
import type { TangServer } from "../../lab/tang.js";
import { temporaryDirectory } from "../../fs/tree.js";

/** A runner that gives a token's process its environment, which a real HSM does not need. */
export class TokenRunner extends RecordingCommandRunner {
  constructor(private readonly hsm: Pick<SoftHsm, "env">) {
    super();
  }

  override run(command: Command): ReturnType<RecordingCommandRunner["run"]> {
    return super.run(
      command.tool === "node" ? { ...command, env: { ...command.env, ...this.hsm.env } } : command,
    );
  }
}

/**
 * Does what the kernel's resource manager does on a host: gives the TPM to one systemd-creds at a time, and flushes
 * what that leaves in it.
 */
export class ManagedTpmRunner extends RecordingCommandRunner {
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly swtpm: Pick<Swtpm, "exec">) {
    super();
  }

  override run(command: Command): ReturnType<RecordingCommandRunner["run"]> {
    if (command.tool !== "systemd-creds") return super.run(command);
    const result = this.#last.then(() => super.run(command));
    this.#last = result
      .catch(() => undefined)
      .then(() => {
        for (const what of ["-l", "-t"]) this.swtpm.exec("tpm2_flushcontext", what);
      });
    return result;
  }
}

/** A file keystore under a protector, in a directory of the test. */
export function protectedKeystore(
  protector: ProtectorSettings,
  runner: RecordingCommandRunner = new RecordingCommandRunner(),
  directory = join(temporaryDirectory(), "keystore"),
) {
  const place = { name: "local", type: "file" as const, directory, protector };
  return {
    directory,
    runner,
    masterKeyPath: join(directory, "master-key.json"),
    keystore: new FileKeystore(place, runner),
    another: () => new FileKeystore(place, runner),
    care: new KeystoreCare(place, runner, join(directory, "..", "lock")),
    /** The same directory under other settings. */
    under: (other: ProtectorSettings) => protectedKeystore(other, runner, directory),
  };
}

export function tpm2({ tcti }: Pick<Swtpm, "tcti">, pcrs = "7"): ProtectorSettings & { type: "tpm2" } {
  return { type: "tpm2", tcti, pcrs };
}

export function tang(servers: readonly TangServer[], threshold = 1): ProtectorSettings & { type: "tang" } {
  const [first, ...others] = servers.map(({ url, thumbprint }) => ({ url, thumbprint }));
  return { type: "tang", servers: [first!, ...others], threshold };
}

export function pkcs11({ module, token, key, pin }: SoftHsm, pinFile = pinFileWith(pin)) {
  return { type: "pkcs11" as const, module, token, key, pinFile };
}

export function pinFileWith(pin: string): string {
  const path = join(temporaryDirectory(), "pin");
  writeFileSync(path, `${pin}\n`);
  chmodSync(path, 0o600);
  return path;
}

/** The text that `work` gives, or the error that it throws. */
export async function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    (bytes) => (Buffer.isBuffer(bytes) ? bytes.toString() : bytes),
    (thrown: unknown) => thrown,
  );
}
