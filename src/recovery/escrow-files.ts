import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { createFile, makeDirectory, removeFile, replaceFile } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile, statGuarded } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";

/** Bytes of an escrow file for a few hundred recipients. */
const LIMIT = 256 * 1024;

/**
 * What is written before a recovery keyslot is made, and removed when the key's record has it: who finds it after a
 * kill knows which keyslot nobody can vouch for.
 */
export interface UnfinishedKeyslot {
  readonly keyslot: number;
  /** What tells this keyslot from another one at its place: as `keyslotsIn` has it. */
  readonly identity: string;
  /** The escrow file to be; absent for a printed passphrase. */
  readonly file?: Buffer;
}

/**
 * The escrow files of this host: `UUID.KEYSLOT.age`, a passphrase that opens this keyslot of this key's volume,
 * encrypted with age. A file that is there belongs to a keyslot that was proven to open with what is in it.
 */
export class EscrowFiles {
  constructor(private readonly directory: string) {}

  path(uuid: KeyUuid, keyslot: number): string {
    return join(this.directory, `${uuid}.${keyslot}.age`);
  }

  /** Undefined if there is none. @throws PERMISSIONS_UNSAFE, system errors */
  read(uuid: KeyUuid, keyslot: number): Buffer | undefined {
    return readGuardedFile(this.path(uuid, keyslot), PRIVATE_FILE, LIMIT);
  }

  /** Durable before it returns. @throws OUTPUT_UNWRITABLE */
  begin(uuid: KeyUuid, { keyslot, identity, file }: UnfinishedKeyslot): void {
    const note = { version: 1, keyslot, identity, ...(file && { file: file.toString("base64") }) };
    this.#write(this.#notePath(uuid, keyslot), () => {
      makeDirectory(this.directory, PRIVATE_DIRECTORY.mode);
      statGuarded(this.directory, PRIVATE_DIRECTORY);
      const path = this.#notePath(uuid, keyslot);
      replaceFile(path, Buffer.from(`${JSON.stringify(note)}\n`), PRIVATE_FILE.mode);
    });
  }

  /** The file gets its name, and nothing is unfinished any more. Idempotent. @throws OUTPUT_UNWRITABLE */
  finish(uuid: KeyUuid, { keyslot, file }: Pick<UnfinishedKeyslot, "keyslot" | "file">): void {
    const path = this.path(uuid, keyslot);
    this.#write(path, () => {
      // one of that name is of a keyslot that was at this place before, and opens nothing any more
      if (file !== undefined && createFile(path, file, PRIVATE_FILE.mode) === "exists")
        replaceFile(path, file, PRIVATE_FILE.mode);
      removeFile(this.#notePath(uuid, keyslot));
    });
  }

  /** The keyslot is not there: neither its note nor its file is. Idempotent. @throws OUTPUT_UNWRITABLE */
  forget(uuid: KeyUuid, keyslot: number): void {
    this.#write(this.path(uuid, keyslot), () => {
      if (existsSync(this.directory)) {
        removeFile(this.path(uuid, keyslot));
        removeFile(this.#notePath(uuid, keyslot));
      }
    });
  }

  /** What was cut short. Of a note that is damaged nothing was done yet: it is durable before any keyslot is. */
  unfinished(uuid: KeyUuid): UnfinishedKeyslot[] {
    return this.#names().flatMap((name) => {
      const [, of, keyslot] = NOTE.exec(name) ?? [];
      if (of !== uuid || keyslot === undefined) return [];
      const bytes = readGuardedFile(join(this.directory, name), PRIVATE_FILE, 2 * LIMIT);
      const note = bytes === undefined ? undefined : parseNote(bytes);
      return note === undefined ? [] : [note];
    });
  }

  /** The keyslots of one key that have a file here. */
  keyslots(uuid: KeyUuid): number[] {
    const found = this.#names().map((name) => FILE.exec(name));
    return found.flatMap((match) => (match?.[1] === uuid ? [Number(match[2])] : []));
  }

  #notePath(uuid: KeyUuid, keyslot: number): string {
    return join(this.directory, `${uuid}.${keyslot}.unfinished`);
  }

  #names(): string[] {
    try {
      return readdirSync(this.directory);
    } catch (thrown) {
      // it is made with the first file
      if (errnoOf(thrown) === "ENOENT") return [];
      throw unusable(this.directory, thrown);
    }
  }

  #write(path: string, work: () => void): void {
    try {
      work();
    } catch (thrown) {
      throw unusable(path, thrown);
    }
  }
}

function unusable(path: string, thrown: unknown): unknown {
  const failure = systemErrorOf(thrown);
  if (failure === undefined) return thrown;
  return new LuksmithError("OUTPUT_UNWRITABLE", {
    what: `cannot use ${path}`,
    why: failure.text,
    hint: "the settings say where escrow files are: recovery.directory",
    cause: thrown,
  });
}

const FILE = /^([0-9a-f-]{36})\.(\d{1,2})\.age$/;
const NOTE = /^([0-9a-f-]{36})\.(\d{1,2})\.unfinished$/;

function parseNote(bytes: Buffer): UnfinishedKeyslot | undefined {
  try {
    const { keyslot, identity, file } = JSON.parse(bytes.toString()) as Partial<Record<string, unknown>>;
    if (typeof keyslot !== "number" || typeof identity !== "string") return undefined;
    return { keyslot, identity, ...(typeof file === "string" && { file: Buffer.from(file, "base64") }) };
  } catch {
    return undefined;
  }
}
