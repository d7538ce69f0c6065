import { isDeepStrictEqual } from "node:util";
import { asLuksmithError } from "../../error/luksmith-error.js";
import { systemErrorOf } from "../../fs/system-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { Secret } from "../../secret/secret.js";
import type { Protection } from "../file/master-key.js";
import { masterKeyIdOf } from "../file/stored-key.js";
import type { Key } from "../keystore.js";
import { keyUuidOf } from "../key-record.js";
import type { KeyUuid } from "../key-uuid.js";
import { generationOf } from "../replacement.js";
import { CacheDirectory } from "./cache-directory.js";
import { type Copy, openCopy, sealCopy } from "./cached-key.js";
import { Copying } from "./copying.js";
import { type Instant, systemInstant } from "./instant.js";
import type { CachedKey, KeyCache } from "./key-cache.js";
import { type CachePlace, isUsable } from "./places.js";
import { CachePolicy, type CacheSettings } from "./policy.js";
import { sweep } from "./sweep.js";

export interface CacheOptions {
  readonly settings: CacheSettings;
  readonly places: readonly CachePlace[];
  /**
   * Whether keys that a keystore gives out are copied: those that have no fresh copy, all, or none. What must not be
   * there is removed in any case.
   */
  readonly manner: "copy" | "renew" | "look-up";
  /** Who keeps the key of sealed copies; a root-only file without it. */
  readonly protection?: Protection;
  /** Told once of each thing that is wrong. */
  readonly warn: (message: string) => void;
  readonly now?: () => Instant;
}

/** Which keystore gave out a key, and when. */
type Ticket = Pick<Copy, "keystore" | "origin" | "fetched">;

/** Copies of keys in files: in memory, or sealed under a protector's key on disk. */
export class FileKeyCache implements KeyCache {
  readonly #options: CacheOptions;
  readonly #policy: CachePolicy;
  readonly #directories: readonly CacheDirectory[];
  readonly #now: () => Instant;
  readonly #copying = new Copying();
  readonly #warned = new Set<string>();
  #swept: Promise<void> | undefined;

  constructor(options: CacheOptions) {
    this.#options = options;
    this.#policy = new CachePolicy(options.settings);
    this.#directories = options.places.map((place) => new CacheDirectory(place, options.protection));
    this.#now = options.now ?? systemInstant;
  }

  async gaveOut(keystore: string, key: Key): Promise<void> {
    // before anything is written: all may have to go, with the key that it is sealed under
    await this.#sweepOnce();
    await this.#keepOrForget(keystore, key);
  }

  async settled(limit?: number): Promise<void> {
    for (const uuid of await this.#copying.settled(limit))
      this.#warn(notKept(uuid), `it took longer than ${(limit ?? 0) / 1000} s`);
  }

  async #keepOrForget(keystore: string, key: Key): Promise<void> {
    const uuid = keyUuidOf(key.record);
    this.#copying.cancel(uuid);
    const medium = this.#policy.mediumOf(keystore, key.record);
    const target = this.#directories.find((directory, index) => {
      const place = this.#options.places[index];
      return directory.medium === medium && place !== undefined && isUsable(place);
    });
    for (const directory of this.#directories) {
      if (directory !== target) await this.#guarded(() => directory.remove(uuid));
    }
    const origin = this.#policy.originOf(keystore);
    const isRotated = target !== undefined && (await this.#forgetFormer(target, key.record));
    if (medium === undefined || origin === undefined) return;
    // whoever has rotated the key leaves the host with a copy, if it had one
    if (this.#options.manner === "look-up" && !isRotated) return;
    if (target === undefined) {
      this.#warn(notKept(uuid), "this host has no tmpfs at /run or /dev/shm");
      return;
    }
    const ticket = { keystore, origin, fetched: this.#now() };
    await this.#guarded(() => {
      if (this.#options.manner === "copy" && this.#isFresh(target.read(uuid), ticket, key.record)) return;
      this.#copy(target, key, ticket);
    }, notKept(uuid));
  }

  /** A former passphrase opens nothing any more; also if no new copy can be made. @returns whether it was one */
  async #forgetFormer(target: CacheDirectory, record: KeyRecord): Promise<boolean> {
    const forgotten = await this.#guarded(() => {
      const uuid = keyUuidOf(record);
      const copy = target.read(uuid);
      if (copy === undefined || copy === "damaged") return false;
      if (generationOf(copy.record) === generationOf(record)) return false;
      target.remove(uuid);
      return true;
    });
    return forgotten ?? false;
  }

  /** Not awaited by whoever asked for the key: what protects the copies may be away, and the keystore is not. */
  #copy(target: CacheDirectory, key: Key, ticket: Ticket): void {
    const uuid = keyUuidOf(key.record);
    this.#copying.begin(key, async (wanted) => {
      try {
        await target.write(uuid, (masterKey) => {
          const still = wanted();
          return still && sealCopy(still, ticket, masterKey);
        });
      } catch (thrown) {
        // of what was given up everything is said
        if (wanted() !== undefined) this.#warn(notKept(uuid), reasonOf(thrown));
      }
    });
  }

  async refused(keystores: readonly string[], uuid: KeyUuid): Promise<void> {
    this.#copying.cancel(uuid);
    for (const directory of this.#directories) {
      await this.#guarded(() => {
        const copy = directory.read(uuid);
        if (copy === undefined || copy === "damaged") return;
        if (keystores.includes(copy.keystore)) directory.remove(uuid);
      });
    }
    await this.#sweepOnce();
  }

  async lookUp(keystores: readonly string[], uuid: KeyUuid): Promise<CachedKey | undefined> {
    const found = await this.#firstCopy(keystores, uuid);
    await this.#sweepOnce();
    return found;
  }

  async #firstCopy(keystores: readonly string[], uuid: KeyUuid): Promise<CachedKey | undefined> {
    for (const directory of this.#directories) {
      const found = await this.#guarded(
        () => this.#open(directory, keystores, uuid),
        unusable(uuid, directory),
      );
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #open(
    directory: CacheDirectory,
    keystores: readonly string[],
    uuid: KeyUuid,
  ): Promise<CachedKey | undefined> {
    const copy = directory.read(uuid);
    if (copy === undefined) return undefined;
    const state = copy === "damaged" ? copy : this.#policy.judge(copy, directory.medium, this.#now());
    if (copy !== "damaged" && state === "usable") {
      if (!keystores.includes(copy.keystore)) return undefined;
      const { keystore, record, fetched } = copy;
      const masterKey = await directory.masterKey();
      const passphrase = masterKey && opened(copy, masterKey);
      if (passphrase !== undefined) return { keystore, since: fetched.at, key: { record, passphrase } };
    }
    // not even the settings' change of mind is said: it was somebody's wish
    if (state !== "unwanted") {
      const why = state === "expired" ? "it is too old" : "it is damaged";
      this.#warn(unusable(uuid, directory), why);
    }
    directory.remove(uuid);
    return undefined;
  }

  #isFresh(copy: ReturnType<CacheDirectory["read"]>, ticket: Ticket, record: KeyRecord): boolean {
    if (copy === undefined || copy === "damaged") return false;
    const isSame =
      copy.keystore === ticket.keystore &&
      copy.origin === ticket.origin &&
      isDeepStrictEqual(copy.record, record);
    return isSame && this.#policy.isFresh(copy, ticket.fetched);
  }

  #sweepOnce(): Promise<void> {
    return (this.#swept ??= this.#sweep());
  }

  async #sweep(): Promise<void> {
    for (const directory of this.#directories) {
      const damaged = await this.#guarded(() => sweep(directory, this.#policy, this.#now()));
      for (const uuid of damaged ?? []) this.#warn(unusable(uuid, directory), "it is damaged");
    }
  }

  /** `work`'s result; undefined, with a warning, if it fails. */
  async #guarded<T>(
    work: () => T | Promise<T>,
    what = "the cache of keys cannot be tidied",
  ): Promise<T | undefined> {
    try {
      return await work();
    } catch (thrown) {
      this.#warn(what, reasonOf(thrown));
      return undefined;
    }
  }

  #warn(what: string, why: string): void {
    const message = `${what}: ${why}`;
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#options.warn(message);
  }
}

function reasonOf(thrown: unknown): string {
  const { message, why, hint } = asLuksmithError(thrown);
  return systemErrorOf(thrown)?.text ?? [message, why, hint].filter(Boolean).join(": ");
}

function opened(copy: Copy, masterKey: Secret): Secret | undefined {
  return copy.masterKey === masterKeyIdOf(masterKey) ? openCopy(copy, masterKey) : undefined;
}

function notKept(uuid: KeyUuid): string {
  return `no copy of key ${uuid} is kept`;
}

function unusable(uuid: KeyUuid, directory: CacheDirectory): string {
  return `the copy of key ${uuid} in ${directory.path} cannot be used`;
}
