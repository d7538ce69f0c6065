import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { StoredMasterKey } from "../../generated/master-key.js";
import type { Secret } from "../../secret/secret.js";
import type { MasterKeyFile } from "./master-key-file.js";
import { MASTER_KEY_BYTES, type ProtectorSettings, type ProtectorTools } from "./protector.js";
import { makeProtector } from "./protectors/index.js";
import { rootOnlyFile } from "./protectors/root-only-file.js";
import { masterKeyIdOf } from "./stored-key.js";

/** Gives a master key to a protector and gets it back: what holds for every protector. */
export class Custody {
  readonly #file: MasterKeyFile;
  readonly #settings: ProtectorSettings;
  readonly #tools: ProtectorTools;

  /** @param settings the protector that the settings want; `unprotect` works with whatever the file names */
  constructor(file: MasterKeyFile, settings: ProtectorSettings, tools: ProtectorTools) {
    this.#file = file;
    this.#settings = settings;
    this.#tools = tools;
  }

  /**
   * The stored form under the settings' protector, without a recovery form, once that has given the key back.
   * @throws as Protector's methods
   */
  async protectForSure(masterKey: Secret): Promise<StoredMasterKey> {
    const stored = await this.#protect(masterKey);
    using returned = await this.unprotect(stored);
    if (returned.equals(masterKey)) return stored;
    throw this.#file.unusable(`protector ${stored.protector} gives back another key than it was given`);
  }

  async #protect(masterKey: Secret): Promise<StoredMasterKey> {
    const settings = this.#settings;
    return await inTime(`cannot protect the master key ${this.#file.path}`, async () => {
      const protector = await makeProtector(settings, this.#tools);
      const sealed = await protector.protect(masterKey);
      // a form in clear says all about itself
      const described = settings.type === "file" ? {} : { settings, masterKey: masterKeyIdOf(masterKey) };
      return { version: 1, protector: settings.type, ...described, ...sealed } as StoredMasterKey;
    });
  }

  /** The master key, which the caller disposes of. @throws as Protector.unprotect */
  async unprotect(stored: StoredMasterKey): Promise<Secret> {
    const bytes = await inTime(`cannot open the master key ${this.#file.path}`, () => this.#open(stored));
    // GCM, the TPM and the JWE notice a change; this notices one form that was put in another's place
    if (
      bytes.length === MASTER_KEY_BYTES &&
      (stored.protector === "file" || stored.masterKey === masterKeyIdOf(bytes))
    ) {
      return bytes;
    }
    bytes.dispose();
    throw this.#file.unusable(
      "what its protector gives out is not the key that the file names: it was changed",
    );
  }

  async #open(stored: StoredMasterKey): Promise<Secret> {
    if (stored.protector === "file") return await rootOnlyFile.unprotect(stored);
    const openWith = async (settings: ProtectorSettings) =>
      await (await makeProtector(settings, this.#tools)).unprotect(stored);
    const elsewhere = placesIn(this.#settings, stored.settings);
    const moved = { ...stored.settings, ...elsewhere } as ProtectorSettings;
    // a token is known by its labels; a second guess would spend a PIN
    if (moved.type === "pkcs11" || canonical(moved) === canonical(stored.settings)) {
      return await openWith(moved);
    }
    try {
      return await openWith(moved);
    } catch (first) {
      // the settings may be about another TPM, for which the key is yet to be sealed
      if (!isAboutPlace(first)) throw first;
      return await openWith(stored.settings).catch((second: unknown) => {
        // that it is not there any more is no news where the device has moved
        throw codeOf(second) === "MASTER_KEY_UNUSABLE" ? second : first;
      });
    }
  }

  /** @throws PROTECTOR_DIFFERS */
  check(stored: StoredMasterKey): void {
    if (!this.differs(stored)) return;
    const isSameType = stored.protector === this.#settings.type;
    throw new LuksmithError("PROTECTOR_DIFFERS", {
      what: `the master key ${this.#file.path} is not protected as the settings say`,
      why: isSameType
        ? `protector ${stored.protector} got it under other settings`
        : `it is under protector ${stored.protector}, and the settings name ${this.#settings.type}`,
      hint: "all keys can be used; luksmith keystore reprotect applies the settings",
    });
  }

  /** Whether the file is under another protector than the settings name, or was made under other settings of it. */
  differs(stored: StoredMasterKey): boolean {
    if (stored.protector === "file" || stored.protector !== this.#settings.type) {
      return stored.protector !== this.#settings.type;
    }
    return canonical(withoutPinFile(stored.settings)) !== canonical(withoutPinFile(this.#settings));
  }
}

/** The PIN is the token's, in whatever file it is: another file protects the key no differently. */
function withoutPinFile(settings: ProtectorSettings): ProtectorSettings {
  return settings.type === "pkcs11" ? { ...settings, pinFile: "" } : settings;
}

/**
 * Where a device is may have changed since the key was given to it, and only the settings know, if they are about the
 * same device. What the key was sealed with comes from the file either way.
 */
function placesIn(settings: ProtectorSettings, stored: ProtectorSettings): Partial<Record<string, string>> {
  switch (settings.type) {
    case "systemd-creds":
      if (stored.type !== settings.type || settings.tpm2Device === undefined) return {};
      return { tpm2Device: settings.tpm2Device };
    case "tpm2":
      if (stored.type !== settings.type || settings.tcti === undefined) return {};
      return { tcti: settings.tcti };
    case "pkcs11":
      // the PIN of one token is a wrong PIN for another, which counts them
      if (stored.type !== settings.type || stored.token !== settings.token || stored.key !== settings.key)
        return {};
      return { module: settings.module, pinFile: settings.pinFile };
    case "file":
    case "tang":
      return {};
  }
}

function isAboutPlace(thrown: unknown): boolean {
  return ABOUT_PLACE.has(codeOf(thrown));
}

/** It is another device, it is none, or it hangs. */
const ABOUT_PLACE: ReadonlySet<string> = new Set([
  "MASTER_KEY_UNUSABLE",
  "PROTECTOR_UNAVAILABLE",
  "TOOL_FAILED",
  "TOOL_TIMEOUT",
]);

function codeOf(thrown: unknown): string {
  return asLuksmithError(thrown).code;
}

function canonical(settings: ProtectorSettings): string {
  return JSON.stringify(Object.entries(settings).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** `work`'s result. A tool that hangs or dies is a protector that is not there now; all else says which file it is about. */
async function inTime<T>(task: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    if (error.code !== "TOOL_TIMEOUT" && error.code !== "TOOL_FAILED") throw error.within(task);
    throw new LuksmithError("PROTECTOR_UNAVAILABLE", {
      what: `${task}: ${error.message}`,
      ...(error.why === undefined ? {} : { why: error.why }),
      hint: "see whether its device or server answers; without it: luksmith keystore recovery restore",
      cause: thrown,
    });
  }
}
