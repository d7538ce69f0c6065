import { createCipheriv, createDecipheriv, randomBytes, randomFillSync } from "node:crypto";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { PLUGIN_ROOT } from "../../../manifest/load.js";
import { secretFile } from "../../../secret/secret-file.js";
import { Secret } from "../../../secret/secret.js";
import { VolumeLocks } from "../../../storage/volume-lock.js";
import { masterKeyIdOf } from "../stored-key.js";
import {
  MASTER_KEY_BYTES,
  type Protector,
  type ProtectorTools,
  type Sealed,
  type SettingsOf,
  type StoredBy,
} from "../protector.js";
import { TOKEN_EXIT_CODES } from "./pkcs11-exit-codes.js";
import { PinFile } from "./pin-file.js";
import { runForSecret } from "./secret-output.js";

const ALGORITHM = "aes-256-gcm";
const TAG_BYTES = 16;
/** Milliseconds; tokens on the network take tens of them. */
const TIMEOUT = 10_000;
/** Seconds that others may take. */
const PATIENCE = 10;

/**
 * The master key under a key that a token (HSM) holds. The token encrypts a key of this master key's own with AES-CBC,
 * which every token with AES can; that key encrypts the master key with AES-256-GCM, which notices any change.
 *
 * The token's library runs in a process of its own: it is foreign code, it may hang, and it may keep what it was given.
 */
export class Pkcs11 implements Protector<"pkcs11"> {
  readonly #settings: SettingsOf<"pkcs11">;
  readonly #tools: ProtectorTools;

  constructor(settings: SettingsOf<"pkcs11">, tools: ProtectorTools) {
    this.#settings = settings;
    this.#tools = tools;
  }

  async protect(masterKey: Secret): Promise<Sealed<"pkcs11">> {
    const wrapIv = randomBytes(16);
    const iv = randomBytes(12);
    using wrapping = Secret.own(randomFillSync(Buffer.alloc(MASTER_KEY_BYTES)));
    using wrapped = await this.#token(
      "encrypt",
      wrapIv,
      wrapping.use((bytes) => Buffer.from(bytes)),
    );
    const cipher = wrapping.use((key) => createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES }));
    cipher.setAAD(Buffer.from(masterKeyIdOf(masterKey)));
    const ciphertext = masterKey.use((bytes) => Buffer.concat([cipher.update(bytes), cipher.final()]));
    return {
      wrapIv: wrapIv.toString("base64"),
      wrappedKey: wrapped.use((bytes) => bytes.toString("base64")),
      iv: iv.toString("base64"),
      ciphertext: ciphertext.toString("base64"),
      tag: cipher.getAuthTag().toString("base64"),
    };
  }

  async unprotect(stored: StoredBy<"pkcs11">): Promise<Secret> {
    const bytes = (text: string) => Buffer.from(text, "base64");
    using wrapping = await this.#token("decrypt", bytes(stored.wrapIv), bytes(stored.wrappedKey));
    const decipher = wrapping.use((key) =>
      createDecipheriv(ALGORITHM, key, bytes(stored.iv), { authTagLength: TAG_BYTES }),
    );
    decipher.setAAD(Buffer.from(stored.masterKey));
    decipher.setAuthTag(bytes(stored.tag));
    const masterKey = Secret.own(decipher.update(bytes(stored.ciphertext)));
    try {
      // in GCM this returns nothing: it compares the tag
      decipher.final();
      return masterKey;
    } catch {
      masterKey.dispose();
      throw new LuksmithError("MASTER_KEY_UNUSABLE", {
        what: `key ${this.#settings.key} of token ${this.#settings.token} does not open the master key`,
        why: "it is another key of that name, or the file was changed",
        hint: "luksmith keystore recovery restore, or bring the file back from a backup",
      });
    }
  }

  /**
   * 32 bytes through the token's key, which wipes `input`. One process at a time: of several guests that start with a
   * wrong PIN only the first may try it, and a token in software forgets itself for a moment at each login.
   */
  async #token(operation: "encrypt" | "decrypt", iv: Buffer, input: Buffer): Promise<Secret> {
    const { token } = this.#settings;
    return await new VolumeLocks(this.#tools.runner, undefined, PATIENCE).hold(`token ${token}`, (lock) =>
      this.#throughToken(operation, iv, input, lock),
    );
  }

  /** @param lock is the process's as well, which may outlive this one and be the one that tries a PIN */
  async #throughToken(
    operation: "encrypt" | "decrypt",
    iv: Buffer,
    input: Buffer,
    lock: number,
  ): Promise<Secret> {
    const { module, token, key, pinFile } = this.#settings;
    try {
      using attempt = new PinFile(pinFile, token, this.#tools.directory).attempt();
      using pinDescriptor = secretFile(attempt.pin);
      const words = [operation, module, token, key, iv.toString("hex"), attempt.stamp];
      const { exitCode, output, stderr } = await runForSecret(this.#tools.runner, {
        tool: "node",
        args: [join(PLUGIN_ROOT, "dist/tokens/pkcs11.js"), ...words],
        fds: [pinDescriptor.fd, attempt.memory, lock],
        input,
        timeout: TIMEOUT,
      });
      if (exitCode === 0 && output.length === MASTER_KEY_BYTES) return output;
      output.dispose();
      throw this.#failure(exitCode, stderr.trim());
    } finally {
      input.fill(0);
    }
  }

  #failure(exitCode: number, said: string): LuksmithError {
    const { module, token, key, pinFile } = this.#settings;
    const what = `token ${token} cannot be used`;
    switch (exitCode) {
      case TOKEN_EXIT_CODES.noLibrary:
        return new LuksmithError("TOOL_MISSING", {
          what,
          why: `the npm package pkcs11js is not installed: ${said}`,
          hint: `npm install --prefix ${PLUGIN_ROOT} pkcs11js@2`,
        });
      case TOKEN_EXIT_CODES.pinRejected:
        return new LuksmithError("PIN_REJECTED", {
          what,
          why: `it rejected the PIN in ${pinFile} (${said})`,
          hint: "write the right PIN to the file; this one is not tried again, since wrong PINs lock a token",
        });
      case TOKEN_EXIT_CODES.pinLocked:
        return new LuksmithError("PIN_REJECTED", {
          what,
          why: `its PIN is locked (${said})`,
          hint: "its security officer unlocks it: pkcs11-tool --init-pin, or the vendor's tool",
        });
      case TOKEN_EXIT_CODES.loginFailed:
        return unavailable(
          what,
          `its answer to the PIN was ${said}`,
          `the PIN is not tried again before: touch ${pinFile}`,
        );
      case TOKEN_EXIT_CODES.notRemembered:
        return unavailable(
          what,
          `what becomes of the PIN cannot be remembered: ${said}`,
          `see whether ${this.#tools.directory} can be written`,
        );
      case TOKEN_EXIT_CODES.noModule:
        return unavailable(what, `the module ${module} cannot be loaded: ${said}`, `ls -l ${module}`);
      case TOKEN_EXIT_CODES.noToken:
        return unavailable(what, "it is not there", `pkcs11-tool --module ${module} --list-token-slots`);
      case TOKEN_EXIT_CODES.noKey:
        return unavailable(
          what,
          `it has no AES key ${key}`,
          `pkcs11-tool --module ${module} --token-label ${token} --login --list-objects`,
        );
      default:
        return unavailable(
          what,
          said || `its library ended the process (exit code ${exitCode})`,
          "see the token's own tools",
        );
    }
  }
}

function unavailable(what: string, why: string, hint: string): LuksmithError {
  return new LuksmithError("PROTECTOR_UNAVAILABLE", { what, why, hint });
}
