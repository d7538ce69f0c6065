import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import validate from "../generated/validate-conversion-note.cjs";

/** Of every host. */
const DIRECTORY = "/var/lib/luksmith/conversions";
/** Longer than any note that we write. */
const LIMIT = 64 * 1024;
const MODE = 0o600;

/**
 * What was copied to a new volume, one file for each old one, until that is purged. It tells which volume a killed try
 * has made, where no key record does, and which one nobody needs any more. It survives a reboot, and holds no secret.
 */
export class ConversionNotes {
  constructor(private readonly directory = DIRECTORY) {}

  /** Replaces an earlier note about the same old volume of the disk; on disk when it returns. @throws NOT_PERMITTED */
  write(note: ConversionNote): void {
    this.#change(() => {
      makeDirectory(this.directory, 0o700);
      replaceFile(this.pathOf(note), Buffer.from(`${JSON.stringify(note)}\n`), MODE);
    });
  }

  /** About a guest, the oldest first; what is no note of ours is left out. @throws NOT_PERMITTED */
  of(guest: { readonly id: string }): ConversionNote[] {
    return this.#all()
      .filter((note) => note.guest.id === guest.id)
      .sort((a, b) => a.startedAt.localeCompare(b.startedAt));
  }

  /** About a volume, be it the old one or the new one, of whatever guest. @throws NOT_PERMITTED */
  naming(path: string): ConversionNote[] {
    return this.#all().filter((note) => note.old.path === path || note.new.path === path);
  }

  /** Idempotent. @throws NOT_PERMITTED */
  forget(note: ConversionNote): void {
    this.#change(() => {
      removeFile(this.pathOf(note));
    });
  }

  /** The file that holds it. */
  pathOf({ guest, disk, old }: ConversionNote): string {
    const identity = JSON.stringify([guest.id, disk, old.path]);
    return join(this.directory, `${createHash("sha256").update(identity).digest("hex").slice(0, 32)}.json`);
  }

  #all(): ConversionNote[] {
    return this.#names().flatMap((name) => this.#read(join(this.directory, name)) ?? []);
  }

  #names(): string[] {
    try {
      return readdirSync(this.directory).filter((name) => /^[0-9a-f]{32}\.json$/.test(name));
    } catch (thrown) {
      if (errnoOf(thrown) === "ENOENT") return [];
      throw this.#refused(thrown);
    }
  }

  #read(path: string): ConversionNote | undefined {
    try {
      const note: unknown = JSON.parse(readGuardedFile(path, PRIVATE_FILE, LIMIT)?.toString() ?? "null");
      return isNote(note) && this.pathOf(note) === path ? note : undefined;
    } catch (thrown) {
      // a directory, a link, a file of somebody else, half a file: none of it is ours
      const isForeign = thrown instanceof LuksmithError || thrown instanceof SyntaxError;
      if (isForeign || errnoOf(thrown) !== undefined) return undefined;
      throw thrown;
    }
  }

  #change(change: () => void): void {
    try {
      change();
    } catch (thrown) {
      throw this.#refused(thrown);
    }
  }

  #refused(thrown: unknown): unknown {
    const error = systemErrorOf(thrown);
    if (error === undefined) return thrown;
    return new LuksmithError("NOT_PERMITTED", {
      what: `cannot note in ${this.directory} what is converted`,
      why: error.text,
      hint: "run luksmith as root, and see that there is room",
    });
  }
}

function isNote(value: unknown): value is ConversionNote {
  return validate(value);
}
