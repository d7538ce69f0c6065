import { readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { removeLeftovers } from "../fs/leftovers.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { Guest } from "../host/host-adapter.js";
import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { Overwriting } from "./overwriting.js";

/** A person who has agreed. */
export interface Person {
  readonly uid: number;
  readonly role: "requested" | "shredded";
  /** RFC 3339, UTC. */
  readonly at: string;
}

/**
 * A destruction that has begun: what a further call must know to end it. It is there from right before the first byte of
 * the header is overwritten; whether one was, the volume tells. Holds no secret.
 */
export interface ShredNote {
  readonly version: 1;
  readonly key: string;
  readonly volume: Volume;
  readonly guest?: Pick<Guest, "id" | "name">;
  readonly disk?: string;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly persons: readonly Person[];
  /** RFC 3339, UTC: when it was read back that nothing of the header is left. Absent until then. */
  readonly destroyedAt?: string;
  /** As it was: bytes to the payload, and SHA-256. */
  readonly header: { readonly length: number; readonly digest: string };
  readonly overwriting: Overwriting;
  /** Keystores that had the key, and former passphrases that they had. */
  readonly keystores: readonly string[];
  readonly archived: readonly string[];
  readonly headerCopies: number;
  readonly escrowFiles: number;
}

/** What there is of a volume's keys, before any of it is destroyed. */
export type Findings = Omit<ShredNote, "version" | "startedAt" | "persons" | "destroyedAt" | "overwriting">;

export function isBegun(found: Findings | ShredNote): found is ShredNote {
  return "overwriting" in found;
}

export const SHRED_DIRECTORY = "/var/lib/luksmith/shred";
/** The longest header has 136 MiB, and each of its sectors eleven characters here. */
const LIMIT = 8 * 1024 * 1024;

/** One file for each key that is being destroyed. */
export class ShredNotes {
  constructor(readonly directory = SHRED_DIRECTORY) {}

  /** On disk when it returns. @throws NOT_PERMITTED */
  write(note: ShredNote): void {
    this.#change(() => {
      makeDirectory(this.directory, PRIVATE_DIRECTORY.mode);
      removeLeftovers(this.directory);
      replaceFile(this.pathOf(note.key), Buffer.from(`${JSON.stringify(note)}\n`), PRIVATE_FILE.mode);
    });
  }

  /** @throws PERMISSIONS_UNSAFE, and SHRED_REFUSED for one that is damaged */
  find(key: KeyUuid): ShredNote | undefined {
    const bytes = readGuardedFile(this.pathOf(key), PRIVATE_FILE, LIMIT);
    if (bytes === undefined) return undefined;
    const note = parse(bytes);
    if (note?.version === 1 && note.key === key && typeof note.overwriting === "object") return note;
    throw new LuksmithError("SHRED_REFUSED", {
      what: `cannot go on destroying key ${key}`,
      why: `${this.pathOf(key)} is not what was written`,
      hint: "docs/shredding.md tells what to do with such a note",
    });
  }

  /** By the volume's name; one that is damaged is passed over. */
  of(volume: string): ShredNote | undefined {
    const keys = this.#names().flatMap((name) => parseKeyUuid(name.replace(/\.json$/, "")) ?? []);
    return keys.flatMap((key) => this.#whole(key) ?? []).find((note) => volumeName(note.volume) === volume);
  }

  remove(key: KeyUuid): void {
    this.#change(() => {
      removeFile(this.pathOf(key));
    });
  }

  pathOf(key: string): string {
    return join(this.directory, `${key}.json`);
  }

  #whole(key: KeyUuid): ShredNote | undefined {
    try {
      return this.find(key);
    } catch (thrown) {
      if (thrown instanceof LuksmithError) return undefined;
      throw thrown;
    }
  }

  #names(): string[] {
    try {
      return readdirSync(this.directory);
    } catch (thrown) {
      if (errnoOf(thrown) === "ENOENT") return [];
      throw thrown;
    }
  }

  #change(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      const failure = systemErrorOf(thrown);
      if (failure === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot write to ${this.directory}`,
        why: failure.text,
        hint: "nothing is destroyed that could not be gone on with after a power cut",
        cause: thrown,
      });
    }
  }
}

function parse(bytes: Buffer): ShredNote | undefined {
  try {
    return JSON.parse(bytes.toString()) as ShredNote;
  } catch {
    return undefined;
  }
}
