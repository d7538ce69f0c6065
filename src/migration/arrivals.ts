import { randomUUID } from "node:crypto";
import { readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { removeLeftovers } from "../fs/leftovers.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { Guest } from "../host/host-adapter.js";
import type { CopiedDisk } from "../plan/step.js";
import { parseArrival } from "./parse-arrival.js";

/** A guest that migrates here, or did a moment ago. */
export interface Arrival {
  readonly guest: Pick<Guest, "id" | "name">;
  /** Empty for one that brings nothing but its memory. */
  readonly copies: readonly CopiedDisk[];
}

export interface NotedArrival extends Arrival {
  /** `announced`: QEMU was not started for it yet. `arrived`: it was, and the host manager knows the guest. */
  readonly stage: "announced" | "arrived";
  readonly since: Date;
  /** Whether the guest had a persistent configuration here before it arrived. */
  readonly defined: boolean;
  /** Of this one migration: a further attempt has another. */
  readonly nonce: string;
}

/** Of every host. The hook's shim looks whether it is there. */
export const ARRIVALS_DIRECTORY = "/var/lib/luksmith/arrivals";

/** Longer than any note that we write. */
const LIMIT = 1024 * 1024;
/** How often a directory is made that another process takes away at the same time. */
const ATTEMPTS = 10;

/**
 * What was made for guests that migrate here, one file for each, until their persistent configurations say it as well.
 * It survives a reboot, and holds no secret.
 */
export class Arrivals {
  constructor(private readonly directory = ARRIVALS_DIRECTORY) {}

  /** Replaces an earlier note about the guest; on disk when it returns. @throws NOT_PERMITTED */
  note({ guest: { id, name }, copies }: Arrival): NotedArrival {
    const noted: NotedArrival = {
      ...{ guest: { id, name }, copies, stage: "announced" },
      ...{ since: new Date(), defined: false, nonce: randomUUID() },
    };
    this.restore(noted);
    return noted;
  }

  /** Notes what an earlier note said, in the place of any other. @throws NOT_PERMITTED */
  restore(noted: NotedArrival): void {
    const path = this.#pathOf(noted.guest);
    if (path === undefined) throw new Error(`a guest has the id ${noted.guest.id}`);
    const bytes = Buffer.from(`${JSON.stringify(noted)}\n`);
    this.#change(() => {
      this.#write(path, bytes);
    });
  }

  /**
   * QEMU was started for the guest. @param defined whether the guest has a persistent configuration here already
   * @throws NOT_PERMITTED
   */
  arrived(noted: NotedArrival, defined: boolean): void {
    this.restore({ ...noted, stage: "arrived", defined });
  }

  /** `damaged`: there is something under the guest's name that is no note of ours. */
  find(guest: Pick<Guest, "id">): NotedArrival | "damaged" | undefined {
    const path = this.#pathOf(guest);
    if (path === undefined) return undefined;
    try {
      const bytes = readGuardedFile(path, PRIVATE_FILE, LIMIT);
      if (bytes === undefined) return undefined;
      const noted = parseArrival(bytes.toString());
      return noted?.guest.id === guest.id ? noted : "damaged";
    } catch (thrown) {
      // a directory, a link, a file of somebody else: none of it is ours
      if (thrown instanceof LuksmithError || errnoOf(thrown) !== undefined) return "damaged";
      throw thrown;
    }
  }

  /** Without those that are damaged. */
  list(): NotedArrival[] {
    return this.#names().flatMap((id) => {
      const noted = this.find({ id });
      return noted === undefined || noted === "damaged" ? [] : [noted];
    });
  }

  /** Paths of what is among the notes and is none: never acted on, since what it said can be said by hand. */
  damaged(): string[] {
    return this.#names()
      .filter((id) => this.#pathOf({ id }) === undefined || this.find({ id }) === "damaged")
      .map((name) => join(this.directory, name));
  }

  /**
   * Idempotent. Takes the directory away with the last one, so that the shim need not start Node.
   * @param nonce leaves the note about a later migration @throws NOT_PERMITTED
   */
  forget(guest: Pick<Guest, "id">, nonce?: string): void {
    const path = this.#pathOf(guest);
    if (path === undefined) return;
    const noted = nonce === undefined ? undefined : this.find(guest);
    if (nonce !== undefined && (noted === "damaged" || noted?.nonce !== nonce)) return;
    this.#change(() => {
      removeIfThere(path);
      this.#removeDirectory();
    });
  }

  #write(path: string, bytes: Buffer): void {
    for (let attempt = 1; ; attempt++) {
      try {
        makeDirectory(this.directory, 0o700);
        removeLeftovers(this.directory);
        replaceFile(path, bytes, 0o600);
        return;
      } catch (thrown) {
        // whoever forgot the last note has taken the directory away meanwhile
        if (errnoOf(thrown) !== "ENOENT" || attempt === ATTEMPTS) throw thrown;
      }
    }
  }

  #removeDirectory(): void {
    try {
      removeLeftovers(this.directory);
      rmdirSync(this.directory);
    } catch (thrown) {
      // there are other notes, or there is none at all any more; one that stays costs a little time, and no more
      if (errnoOf(thrown) === undefined) throw thrown;
    }
  }

  /** Without those that are being written. */
  #names(): string[] {
    try {
      return readdirSync(this.directory).filter((name) => !name.startsWith("."));
    } catch (thrown) {
      // no guest migrates here
      if (errnoOf(thrown) === undefined) throw thrown;
      return [];
    }
  }

  /** Undefined for what is no id of a guest, and would lead elsewhere. */
  #pathOf({ id }: Pick<Guest, "id">): string | undefined {
    return /^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id) ? join(this.directory, id) : undefined;
  }

  #change(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      const error = systemErrorOf(thrown);
      if (error === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot keep record of guests that migrate here in ${this.directory}`,
        why: error.text,
        hint: "run luksmith as root, and see that the file system can be written to and has free space",
      });
    }
  }
}

/** The directory may be gone with another guest's note. */
function removeIfThere(path: string): void {
  try {
    removeFile(path);
  } catch (thrown) {
    if (errnoOf(thrown) !== "ENOENT") throw thrown;
  }
}
