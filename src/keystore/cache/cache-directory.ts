import { readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { removeFile, replaceFile } from "../../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile, statGuarded } from "../../fs/guarded-file.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { isInMemory } from "../../fs/memory-file-system.js";
import type { Secret } from "../../secret/secret.js";
import { MasterKey, type Protection } from "../file/master-key.js";
import { RecordDirectory } from "../file/record-directory.js";
import type { KeyUuid } from "../key-uuid.js";
import { type Copy, parseCopy } from "./cached-key.js";
import type { CachePlace } from "./places.js";
import type { Medium } from "./policy.js";

const STAMP_LIMIT = 4096;

/**
 * One directory of copies (0700, root), laid out as a file keystore's: `master-key.json`, `records/<uuid>.json`, and
 * `swept`, which tells when it was last looked through. Every method throws PERMISSIONS_UNSAFE for what others than root
 * may touch, SECRET_FILE_UNAVAILABLE for what should be in memory and is not, and Node's system errors.
 */
export class CacheDirectory {
  readonly medium: Medium;
  readonly path: string;
  readonly #records: RecordDirectory;
  readonly #masterKey: MasterKey;
  readonly #stampPath: string;
  /** Asked for once, however many keys a guest has: a protector that does not answer keeps its start waiting. */
  #forWriting: Promise<Secret> | undefined;

  /** @param protection of a sealed directory's master key; in memory it lies beside the copies */
  constructor({ medium, path }: CachePlace, protection?: Protection) {
    this.medium = medium;
    this.path = path;
    this.#records = new RecordDirectory(path);
    this.#masterKey = new MasterKey(path, medium === "sealed" ? protection : undefined);
    this.#stampPath = join(path, "swept");
  }

  /** Whether there is one, in the right place and safe to use. */
  exists(): boolean {
    if (statGuarded(this.path, PRIVATE_DIRECTORY) === undefined) return false;
    this.#requireMedium();
    return true;
  }

  read(uuid: KeyUuid): Copy | "damaged" | undefined {
    if (!this.exists()) return undefined;
    const bytes = this.#records.read(uuid);
    return bytes && (parseCopy(bytes, uuid) ?? "damaged");
  }

  /** @param seal makes the bytes under the master key, or undefined where they are not wanted any more */
  async write(uuid: KeyUuid, seal: (masterKey: Secret) => Buffer | undefined): Promise<void> {
    this.#records.prepare();
    this.#requireMedium();
    this.#forWriting ??= this.#masterKeyForWriting();
    const bytes = seal(await this.#forWriting);
    if (bytes !== undefined) this.#records.replace(uuid, bytes);
  }

  /** The master key, which stays this object's. Undefined if there is none. */
  masterKey(): Promise<Secret | undefined> {
    return this.#masterKey.read();
  }

  /** Whether the copies are under another protector than the settings name now. */
  isProtectedOtherwise(): boolean {
    try {
      this.#masterKey.checkProtector();
      return false;
    } catch (thrown) {
      if (asLuksmithError(thrown).code === "PROTECTOR_DIFFERS") return true;
      throw thrown;
    }
  }

  remove(uuid: KeyUuid): void {
    this.#records.remove(uuid);
  }

  /** Of the copies that there are, wherever they are. */
  uuids(): KeyUuid[] {
    return this.#records.uuids();
  }

  /** What `writeStamp` wrote last. */
  readStamp(): string | undefined {
    return readGuardedFile(this.#stampPath, PRIVATE_FILE, STAMP_LIMIT)?.toString("utf8");
  }

  writeStamp(stamp: string): void {
    replaceFile(this.#stampPath, Buffer.from(stamp), PRIVATE_FILE.mode);
  }

  /** Removes all copies, their master key and the directory itself; what is not ours stays, and the directory with it. */
  removeAll(): void {
    if (statGuarded(this.path, PRIVATE_DIRECTORY) === undefined) return;
    this.#forWriting = undefined;
    // the master key first: without it the copies are worth nothing, whatever happens next
    removeFile(this.#masterKey.path);
    for (const uuid of this.#records.uuids()) this.#records.remove(uuid);
    removeFile(this.#stampPath);
    this.removeLeftovers();
    for (const directory of this.#directories().reverse()) {
      if (readdirSync(directory).length === 0) rmdirSync(directory);
    }
  }

  /** Removes what killed writes left. */
  removeLeftovers(): void {
    this.#directories().forEach(removeLeftovers);
  }

  #directories(): string[] {
    return [this.path, join(this.path, "records")].filter(
      (path) => statGuarded(path, PRIVATE_DIRECTORY) !== undefined,
    );
  }

  async #masterKeyForWriting(): Promise<Secret> {
    const there = await this.#masterKey.read();
    if (there !== undefined) return there;
    // what is sealed under a key that is gone is never opened again
    for (const uuid of this.#records.uuids()) this.#records.remove(uuid);
    await this.#masterKey.make();
    const made = await this.#masterKey.read();
    if (made === undefined) throw this.#masterKey.missing();
    return made;
  }

  #requireMedium(): void {
    if (this.medium !== "memory" || isInMemory(this.path)) return;
    throw new LuksmithError("SECRET_FILE_UNAVAILABLE", {
      what: `${this.path} is not in memory`,
      why: "it is on a disk, which keeps what is written to it",
    });
  }
}
