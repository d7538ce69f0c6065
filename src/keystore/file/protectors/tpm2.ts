import { readSync } from "node:fs";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { type MemoryFile, openMemoryFile } from "../../../secret/secret-file.js";
import type { Secret } from "../../../secret/secret.js";
import type { Protector, ProtectorTools, Sealed, SettingsOf, StoredBy } from "../protector.js";
import { memoryFileOf, TpmCommands, TpmRefusal } from "./tpm-commands.js";

/** With `noda`, as all here: a TPM counts each power cut as a guess, and would lock out who uses a key without it. */
const PARENT = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";

/**
 * The master key as a sealed object of a TPM 2.0: the TPM gives it out while the PCRs are as they were. It lies under
 * the owner's primary key, which the TPM makes again from its seed whenever it is asked.
 *
 * What the tools pass on to each other is in unnamed memory files, and no secret but what `tpm2_unseal` writes. No
 * password guards the object, so there is nothing to guess and no lockout (`noda`).
 */
export class Tpm2 implements Protector<"tpm2"> {
  readonly #tpm: TpmCommands;
  readonly #settings: SettingsOf<"tpm2">;

  constructor(settings: SettingsOf<"tpm2">, { runner }: ProtectorTools) {
    this.#settings = settings;
    this.#tpm = new TpmCommands(runner, settings.tcti);
  }

  protect(masterKey: Secret): Promise<Sealed<"tpm2">> {
    return this.#tpm.alone(() => this.#seal(masterKey));
  }

  unprotect(stored: StoredBy<"tpm2">): Promise<Secret> {
    return this.#tpm.alone(() => this.#unseal(stored));
  }

  async #seal(masterKey: Secret): Promise<Sealed<"tpm2">> {
    const pcrs = `sha256:${this.#settings.pcrs}`;
    using policy = openMemoryFile();
    using publicPart = openMemoryFile();
    using privatePart = openMemoryFile();
    const input = masterKey.use((bytes) => Buffer.from(bytes));
    try {
      using primary = await this.#primary();
      await this.#tpm.withSession("--policy-session", primary, (session) =>
        this.#do("tpm2_policypcr", ["-Q", "-S", session, "-l", pcrs, "-L", policy]),
      );
      await this.#tpm.withSession("--hmac-session", primary, (session) =>
        this.#do(
          "tpm2_create",
          [
            ...["-Q", "-C", primary, "-P", { prefix: "session:", file: session }, "-L", policy],
            ...["-u", publicPart, "-r", privatePart, "-i", "-", "-a", "fixedtpm|fixedparent|noda"],
          ],
          input,
        ),
      );
    } catch (thrown) {
      if (!(thrown instanceof TpmRefusal)) throw thrown;
      throw new LuksmithError("PROTECTOR_UNAVAILABLE", {
        what: "the TPM does not seal the master key",
        why: thrown.reason,
        hint: "the owner hierarchy must have no password, and the bank sha256 must be active: tpm2_getcap pcrs",
      });
    } finally {
      input.fill(0);
    }
    return { public: base64In(publicPart), private: base64In(privatePart) };
  }

  async #unseal(stored: StoredBy<"tpm2">): Promise<Secret> {
    const pcrs = stored.settings.pcrs ?? "";
    using publicPart = memoryFileOf(Buffer.from(stored.public, "base64"));
    using privatePart = memoryFileOf(Buffer.from(stored.private, "base64"));
    using object = openMemoryFile();
    try {
      using primary = await this.#primary();
      await this.#do("tpm2_load", ["-Q", "-C", primary, "-u", publicPart, "-r", privatePart, "-c", object]);
      return await this.#tpm.withSession("--policy-session", primary, async (session) => {
        await this.#do("tpm2_policypcr", ["-Q", "-S", session, "-l", `sha256:${pcrs}`]);
        return await this.#tpm.run("tpm2_unseal", [
          ...["-Q", "-c", object],
          ...["-p", { prefix: "session:", file: session }],
        ]);
      });
    } catch (thrown) {
      if (!(thrown instanceof TpmRefusal)) throw thrown;
      throw new LuksmithError("MASTER_KEY_UNUSABLE", {
        what: "the TPM does not give the master key out",
        why: reasonFor(thrown, pcrs),
        hint: "luksmith keystore recovery restore seals it anew, with the recovery passphrase",
      });
    }
  }

  /** Where the primary key's context is, which is no secret: only this TPM can load it. */
  async #primary(): Promise<MemoryFile> {
    // a killed process may have left something there
    await this.#tpm.flush();
    const primary = openMemoryFile();
    try {
      await this.#do("tpm2_createprimary", ["-Q", "-C", "o", "-G", "ecc", "-a", PARENT, "-c", primary]);
      return primary;
    } catch (thrown) {
      primary[Symbol.dispose]();
      throw thrown;
    }
  }

  async #do(...command: Parameters<TpmCommands["run"]>): Promise<void> {
    (await this.#tpm.run(...command)).dispose();
  }
}

function reasonFor({ code, reason }: TpmRefusal, pcrs: string): string {
  // TPM_RC_POLICY_FAIL, TPM_RC_INTEGRITY and TPM_RC_AUTH_FAIL, without the number of the session or parameter
  switch (code & 0xbf) {
    case 0x9d:
      return `the values of PCR ${pcrs} are not those that it was sealed with: firmware, Secure Boot or the boot path changed`;
    case 0x9f:
      return "another TPM sealed it, or this one was cleared since, or the file was changed";
    default:
      return reason;
  }
}

const LIMIT = 4096;

function base64In({ fd }: MemoryFile): string {
  const buffer = Buffer.alloc(LIMIT);
  return buffer.subarray(0, readSync(fd, buffer, 0, LIMIT, 0)).toString("base64");
}
