import { readdirSync } from "node:fs";
import { join } from "node:path";
import { digestOf } from "../audit/entry.js";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { volumeName } from "../storage/volume.js";
import { type Findings, type Person, SHRED_DIRECTORY } from "./shred-notes.js";

/** A disk as it is now, with all that would be destroyed: whatever of it changes, it is another one. */
interface WantedDisk {
  readonly key: string;
  readonly digest: string;
}

/** One person's wish that exactly this be destroyed. */
interface ShredRequest {
  readonly version: 1;
  readonly disks: readonly WantedDisk[];
  readonly uid: number;
  /** RFC 3339, UTC. */
  readonly at: string;
}

/** Milliseconds that a request holds. */
const HOLDS = 24 * 3_600_000;
const LIMIT = 1024 * 1024;

/**
 * Requests for a destruction that two persons must want, one file each. They hold for a day, also for whoever ends what
 * was begun: nothing else approves what is whole yet. Root can write such a file,
 * and can change who he is: this keeps one administrator's mistake or haste from destroying anything, and tells two
 * names; it does not stop one who means to deceive.
 */
export class ShredRequests {
  readonly #directory: string;

  constructor(directory = SHRED_DIRECTORY) {
    this.#directory = join(directory, "requests");
  }

  /** @throws NOT_PERMITTED */
  make(found: readonly Findings[], uid: number, now: Date): void {
    const request: ShredRequest = { version: 1, disks: disksIn(found), uid, at: now.toISOString() };
    try {
      makeDirectory(this.#directory, PRIVATE_DIRECTORY.mode);
      const path = join(this.#directory, nameOf(request));
      replaceFile(path, Buffer.from(`${JSON.stringify(request)}\n`), PRIVATE_FILE.mode);
    } catch (thrown) {
      const why = systemErrorOf(thrown)?.text;
      if (why === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", { what: `cannot write to ${this.#directory}`, why });
    }
  }

  /**
   * Who has agreed: another one's request, and this user. It is for all that is found, and for nothing else but what
   * was destroyed since.
   * @param isDestroyed whether the key's header was destroyed, or began to be, since then
   * @throws SHRED_NOT_APPROVED
   */
  approve(
    found: readonly Findings[],
    uid: number,
    now: Date,
    isDestroyed: (key: string, since: string) => boolean,
  ): Person[] {
    const disks = disksIn(found);
    const requests = this.#all().filter((request) => isFor(request, disks, isDestroyed));
    const fresh = requests.filter(({ at }) => isFresh(at, now));
    const [other] = fresh.filter((request) => request.uid !== uid);
    if (other !== undefined) {
      const first: Person = { uid: other.uid, role: "requested", at: other.at };
      return [first, { uid, role: "shredded", at: now.toISOString() }];
    }
    throw new LuksmithError("SHRED_NOT_APPROVED", {
      what: "nothing is destroyed: the settings want two persons for it",
      why: reasonFor(requests, fresh),
      hint: "the first person calls luksmith shred request with the same words, another one then calls luksmith shred",
    });
  }

  /** Those of which nothing is left to be destroyed, and those that are too old. */
  remove(now: Date, isDestroyed: (key: string, since: string) => boolean): void {
    for (const request of this.#all())
      if (isFor(request, [], isDestroyed) || !isFresh(request.at, now))
        removeFile(join(this.#directory, nameOf(request)));
  }

  #all(): ShredRequest[] {
    return this.#names().flatMap((name) => {
      const bytes = readGuardedFile(join(this.#directory, name), PRIVATE_FILE, LIMIT);
      const request = bytes === undefined ? undefined : parse(bytes);
      // the name and what it says are one
      const isSound = request?.version === 1 && Array.isArray(request.disks) && name === nameOf(request);
      return isSound ? [request] : [];
    });
  }

  #names(): string[] {
    try {
      return readdirSync(this.#directory).filter((name) => /^[0-9a-f]{64}\.[0-9]{1,10}\.json$/.test(name));
    } catch (thrown) {
      if (errnoOf(thrown) === "ENOENT") return [];
      throw thrown;
    }
  }
}

/** @throws SHRED_NOT_APPROVED for a process that nobody has logged in for: root as such is no person */
export function requirePerson(uid: number | undefined): number {
  if (uid !== undefined) return uid;
  throw new LuksmithError("SHRED_NOT_APPROVED", {
    what: "cannot tell who you are",
    why: "this process belongs to no login, and the settings want two persons",
    hint: "log in as yourself, and become root with sudo",
  });
}

function disksIn(found: readonly Findings[]): WantedDisk[] {
  return found.map(({ key, volume, guest, disk, header, keystores }) => {
    const what = [key, volumeName(volume), guest?.id ?? "", disk ?? "", header.digest, keystores];
    return { key, digest: digestOf(JSON.stringify(what)) };
  });
}

function nameOf({ disks, uid }: Pick<ShredRequest, "disks" | "uid">): string {
  const digests = disks.map(({ digest }) => digest);
  return `${digestOf(digests.sort().join("\n"))}.${uid}.json`;
}

function isFor(
  { disks: wanted, at }: ShredRequest,
  disks: readonly WantedDisk[],
  isDestroyed: (key: string, since: string) => boolean,
): boolean {
  const isIn = ({ digest }: WantedDisk, others: readonly WantedDisk[]) =>
    others.some((other) => other.digest === digest);
  const areWanted = disks.every((disk) => isIn(disk, wanted));
  return areWanted && wanted.every((disk) => isIn(disk, disks) || isDestroyed(disk.key, at));
}

function isFresh(at: string, now: Date): boolean {
  const age = now.getTime() - new Date(at).getTime();
  return age >= 0 && age <= HOLDS;
}

function reasonFor(requests: readonly ShredRequest[], fresh: readonly ShredRequest[]): string {
  if (fresh.length > 0) return "you have requested it yourself";
  if (requests.length > 0) return "the request is more than a day old";
  return "nobody has requested this; a request for other disks, or for what has changed since, does not count";
}

function parse(bytes: Buffer): ShredRequest | undefined {
  try {
    return JSON.parse(bytes.toString()) as ShredRequest;
  } catch {
    return undefined;
  }
}
