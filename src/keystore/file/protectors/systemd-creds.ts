import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import { redact, type Secret } from "../../../secret/secret.js";
import type { Protector, SettingsOf } from "../protector.js";
import { lastLine, runForSecret } from "./secret-output.js";
import { requireTpmDriver } from "./tpm-drivers.js";

/** systemd binds it to the credential: one that was made for something else is refused. */
const NAME = "--name=luksmith-master-key";
const TIMEOUT = 15_000;

/** A credential of systemd-creds(1): AES-256-GCM under a key of this host's, its TPM or both. */
export class SystemdCreds implements Protector<"systemd-creds"> {
  readonly #settings: SettingsOf<"systemd-creds">;
  readonly #runner: CommandRunner;

  /** @throws PROTECTOR_UNAVAILABLE for a TPM whose driver could start a program */
  constructor(settings: SettingsOf<"systemd-creds">, { runner }: { readonly runner: CommandRunner }) {
    if (settings.tpm2Device !== undefined) requireTpmDriver(settings.tpm2Device);
    this.#settings = settings;
    this.#runner = runner;
  }

  async protect(masterKey: Secret): Promise<{ credential: string }> {
    const { with: key, pcrs } = this.#settings;
    const tpm = key === "host" ? [] : [...this.#device(), `--tpm2-pcrs=${pcrs.replaceAll(",", "+")}`];
    const args = ["encrypt", `--with-key=${key}`, ...tpm, NAME, "-", "-"];
    const input = masterKey.use((bytes) => Buffer.from(bytes));
    try {
      const { exitCode, stdout, stderr } = await this.#run(args, input);
      if (exitCode !== 0) throw unavailable("systemd-creds cannot encrypt the master key", stderr);
      return { credential: stdout.replace(/\s/g, "") };
    } finally {
      input.fill(0);
    }
  }

  async unprotect({ credential }: { readonly credential: string }): Promise<Secret> {
    const { exitCode, output, stderr } = await runForSecret(this.#runner, {
      tool: "systemd-creds",
      args: ["decrypt", ...this.#device(), NAME, "-", "-"],
      input: credential,
      timeout: TIMEOUT,
    });
    if (exitCode === 0) return output;
    output.dispose();
    const what = "systemd-creds does not decrypt the master key";
    if (TPM_IS_AWAY.test(lastLine(stderr))) throw unavailable(what, stderr);
    throw new LuksmithError("MASTER_KEY_UNUSABLE", {
      what,
      why: lastLine(stderr),
      hint: "the host's key, the TPM or its PCRs have changed, or the file: luksmith keystore recovery restore, or a backup",
    });
  }

  #device(): string[] {
    const { tpm2Device } = this.#settings;
    return tpm2Device === undefined ? [] : [`--tpm2-device=${tpm2Device}`];
  }

  #run(args: readonly string[], input: Uint8Array) {
    // 1: it says on stderr what is wrong
    return this.#runner.run({ tool: "systemd-creds", args, input, answers: [1], timeout: TIMEOUT });
  }
}

/** How systemd's last word says that it cannot speak to the TPM at all, as opposed to a TPM that refuses. */
const TPM_IS_AWAY = /TCTI|TPM2 support|no TPM|Failed to open session|out of memory/i;

function unavailable(what: string, stderr: string): LuksmithError {
  return new LuksmithError("PROTECTOR_UNAVAILABLE", {
    what,
    why: redact(lastLine(stderr)),
    hint: "see what the host has: systemd-creds has-tpm2; ls -l /dev/tpmrm0 /var/lib/systemd/credential.secret",
  });
}
