import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../../fs/atomic-file.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { digestOf } from "../../headers/backup-file.js";
import { shredFile } from "../../headers/shred-file.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { Progress } from "./geometry.js";

/** What the host remembers of a conversion in place; none of it is secret. */
export interface JournalEntry extends Progress {
  readonly version: 1;
  readonly uuid: KeyUuid;
  readonly guest: { readonly id: string; readonly name: string };
  /** Device name. */
  readonly disk: string;
  /** The storage's name of it, and what tells it from another volume that gets the name later. */
  readonly volume: string;
  readonly identity?: string;
  /** Bytes of the volume before the conversion. */
  readonly size: number;
  readonly startedAt: string;
  /** Of the header beside it: SHA-256, hexadecimal. */
  readonly headerDigest: string;
}

/**
 * A file for each conversion, and beside it the LUKS header that the volume is to have, or had. How far it is stands on
 * the volume: this lags behind, and only says where to look first. Lost, it costs a search of the whole volume.
 */
export class Journal {
  constructor(private readonly directory: string) {}

  /** @throws NOT_PERMITTED */
  write(entry: JournalEntry, header: Buffer): void {
    this.writing(() => {
      makeDirectory(this.directory, 0o700);
      replaceFile(this.headerPath(entry.uuid), header, 0o600);
      this.save(entry);
    });
  }

  /** @throws NOT_PERMITTED */
  note(entry: JournalEntry): void {
    this.writing(() => this.save(entry));
  }

  /** Undefined too where it cannot be made sense of: the volume knows it better. */
  read(uuid: KeyUuid): JournalEntry | undefined {
    const text = contentOf(this.path(uuid))?.toString();
    try {
      const entry = JSON.parse(text ?? "null") as JournalEntry | null;
      return entry?.version === 1 && entry.uuid === uuid ? entry : undefined;
    } catch {
      return undefined;
    }
  }

  /** Undefined where there is none, or not all of the one that was noted. */
  header(uuid: KeyUuid): Buffer | undefined {
    const header = contentOf(this.headerPath(uuid));
    return header !== undefined && digestOf(header) === this.read(uuid)?.headerDigest ? header : undefined;
  }

  /**
   * Overwrites the header, whose keyslot opens with the key's passphrase for as long as that lives, and forgets all. The
   * entry goes last: as long as it is there, a further call comes here. @throws NOT_PERMITTED
   */
  remove(uuid: KeyUuid): void {
    this.writing(() => {
      shredFile(this.headerPath(uuid));
      removeIfThere(this.path(uuid));
    });
  }

  private save(entry: JournalEntry): void {
    replaceFile(this.path(entry.uuid), Buffer.from(`${JSON.stringify(entry)}\n`), 0o600);
  }

  private path(uuid: KeyUuid): string {
    return join(this.directory, `${uuid}.json`);
  }

  private headerPath(uuid: KeyUuid): string {
    return join(this.directory, `${uuid}.header`);
  }

  private writing(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      const error = systemErrorOf(thrown);
      if (error === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot note in ${this.directory} how a conversion goes on`,
        why: error.text,
        hint: "make it writable, and see that its file system is not full",
      });
    }
  }
}

/** Undefined where there is none. @throws Node's system errors */
function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT" || errnoOf(thrown) === "ENOTDIR") return undefined;
    throw thrown;
  }
}

/** Nor a directory that was never made. */
function removeIfThere(path: string): void {
  if (contentOf(path) !== undefined) removeFile(path);
}
