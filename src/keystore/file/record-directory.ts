import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import { createFile, makeDirectory, removeFile, replaceFile, syncDirectory } from "../../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile, statGuarded } from "../../fs/guarded-file.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { missingMount, type MountTables, notMounted } from "../../fs/missing-mount.js";
import { type KeyUuid, parseKeyUuid } from "../key-uuid.js";
import { STORED_KEY_LIMIT } from "./stored-key.js";

const SUFFIX = ".json";

class Changed extends Error {}

/**
 * `records/<uuid>.json` in the keystore's directory: names and bytes, whatever they mean. Every method throws
 * PERMISSIONS_UNSAFE for what others than root may touch, KEYSTORE_UNAVAILABLE for a file system that is not mounted,
 * and Node's system errors.
 */
export class RecordDirectory {
  readonly #parent: string;
  readonly #path: string;
  readonly #mounts: MountTables | undefined;
  #isMounted = false;

  constructor(keystoreDirectory: string, mounts?: MountTables) {
    this.#parent = keystoreDirectory;
    this.#path = join(keystoreDirectory, "records");
    this.#mounts = mounts;
  }

  /**
   * That the directory is on the file system that fstab names for it: below an empty mount point there is no key, and
   * a new master key there would hide all others. Looks once. @throws KEYSTORE_UNAVAILABLE
   */
  requireMounted(): void {
    if (this.#isMounted) return;
    const mountPoint = missingMount(this.#parent, this.#mounts);
    if (mountPoint !== undefined) {
      throw new LuksmithError("KEYSTORE_UNAVAILABLE", {
        what: `cannot use the keystore ${this.#parent}`,
        ...notMounted(mountPoint),
      });
    }
    this.#isMounted = true;
  }

  pathOf(uuid: KeyUuid): string {
    return join(this.#path, `${uuid}${SUFFIX}`);
  }

  /** Makes the directories where they are missing, and removes what killed writes left in them. */
  prepare(): void {
    this.requireMounted();
    makeDirectory(this.#path, PRIVATE_DIRECTORY.mode);
    if (!this.#exists()) return;
    removeLeftovers(this.#parent);
    removeLeftovers(this.#path);
  }

  /**
   * Changes whenever the record's file does; undefined if there is none. Of its bytes, which are never the same twice:
   * pmxcfs counts time in seconds, and inodes are used again.
   */
  stamp(uuid: KeyUuid): string | undefined {
    const bytes = this.read(uuid);
    return bytes && createHash("sha256").update(bytes).digest("base64");
  }

  /** Undefined if there is none. At most one byte more than the limit, so that the reader sees that it is too long. */
  read(uuid: KeyUuid): Buffer | undefined {
    if (!this.#exists()) return undefined;
    return readGuardedFile(this.pathOf(uuid), PRIVATE_FILE, STORED_KEY_LIMIT + 1);
  }

  create(uuid: KeyUuid, bytes: Buffer): "created" | "exists" {
    // another process may just have named the master key, or this directory: a record is worth nothing without them
    syncDirectory(this.#parent);
    return createFile(this.pathOf(uuid), bytes, PRIVATE_FILE.mode);
  }

  /** Whatever is there now. */
  replace(uuid: KeyUuid, bytes: Buffer): void {
    replaceFile(this.pathOf(uuid), bytes, PRIVATE_FILE.mode);
  }

  /** Replaces the file that had `stamp`, and no other: one that was deleted meanwhile does not come back. */
  replaceIf(stamp: string | undefined, uuid: KeyUuid, bytes: Buffer): "replaced" | "changed" {
    try {
      replaceFile(this.pathOf(uuid), bytes, PRIVATE_FILE.mode, () => {
        if (this.stamp(uuid) !== stamp) throw new Changed();
      });
      return "replaced";
    } catch (thrown) {
      if (thrown instanceof Changed) return "changed";
      throw thrown;
    }
  }

  remove(uuid: KeyUuid): void {
    if (this.#exists()) removeFile(this.pathOf(uuid));
  }

  /** In the order of their names; other files in the directory are nobody's business. */
  uuids(): KeyUuid[] {
    if (!this.#exists()) return [];
    return readdirSync(this.#path)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .flatMap((stem) => {
        const uuid = parseKeyUuid(stem);
        // a name in upper case is no file of ours, and would be looked for in lower case
        return uuid === stem ? [uuid] : [];
      })
      .sort();
  }

  #exists(): boolean {
    this.requireMounted();
    const parent = statGuarded(this.#parent, PRIVATE_DIRECTORY);
    return parent !== undefined && statGuarded(this.#path, PRIVATE_DIRECTORY) !== undefined;
  }
}
