import { readdirSync } from "node:fs";
import { join } from "node:path";
import { createFile, makeDirectory, removeFile, replaceFile, syncDirectory } from "../../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile, statGuarded } from "../../fs/guarded-file.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { type KeyUuid, parseKeyUuid } from "../key-uuid.js";
import { STORED_KEY_LIMIT } from "./stored-key.js";

const SUFFIX = ".json";

/**
 * `records/<uuid>.json` in the keystore's directory: names and bytes, whatever they mean. Every method throws
 * PERMISSIONS_UNSAFE for what others than root may touch, and Node's system errors.
 */
export class RecordDirectory {
  readonly #parent: string;
  readonly #path: string;

  constructor(keystoreDirectory: string) {
    this.#parent = keystoreDirectory;
    this.#path = join(keystoreDirectory, "records");
  }

  pathOf(uuid: KeyUuid): string {
    return join(this.#path, `${uuid}${SUFFIX}`);
  }

  /** Makes the directories where they are missing, and removes what killed writes left in them. */
  prepare(): void {
    makeDirectory(this.#path, PRIVATE_DIRECTORY.mode);
    if (!this.#exists()) return;
    removeLeftovers(this.#parent);
    removeLeftovers(this.#path);
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

  replace(uuid: KeyUuid, bytes: Buffer): void {
    replaceFile(this.pathOf(uuid), bytes, PRIVATE_FILE.mode);
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
    const parent = statGuarded(this.#parent, PRIVATE_DIRECTORY);
    return parent !== undefined && statGuarded(this.#path, PRIVATE_DIRECTORY) !== undefined;
  }
}
