import { readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { parsedHeader } from "../encryption/keyslot-use.js";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import type { Clock } from "../event/clock.js";
import { createFile, makeDirectory, syncDirectory } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, statGuarded } from "../fs/guarded-file.js";
import { removeLeftovers } from "../fs/leftovers.js";
import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import type { VolumeLocks } from "../storage/volume-lock.js";
import { dateOf, describeBackup, digestOf, parseBackup, stampIn, stampOf } from "./backup-file.js";
import type { HeaderBackup, HeaderToKeep, HeaderVault } from "./header-vault.js";
import { shredFile } from "./shred-file.js";
import { asFailure, asRefusal, readIfSafe, sizeIfSafe } from "./vault-files.js";

export interface VaultSettings {
  /** Absolute path. */
  readonly directory: string;
  /** How many copies of each header. */
  readonly keep: number;
}

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
/** Ends of names: the bytes, what is known of them, and what was set aside. */
const HEADER = ".luks";
const DESCRIPTION = ".json";
const ASIDE = ".overwritten";
/** Bytes of a description, far more than the longest has. */
const LONGEST_DESCRIPTION = 64 * 1024;

/**
 * Copies in files: a directory for each key's UUID, in it `TIME.luks` for each copy, which `cryptsetup luksHeaderRestore`
 * takes, and `TIME.json`, without which it does not count. Everything is root's alone.
 */
export class FileHeaderVault implements HeaderVault {
  constructor(
    private readonly settings: VaultSettings,
    private readonly locks: VolumeLocks,
    private readonly clock: Clock,
  ) {}

  async keep(kept: HeaderToKeep): Promise<HeaderBackup> {
    const { uuid, header } = kept;
    refuseForeign(kept);
    return await this.guarded(uuid, "cannot keep a copy of a LUKS header", () => {
      const directory = this.make(uuid);
      removeLeftovers(directory);
      const [newest] = this.backups(uuid);
      const isKnown = newest?.digest === digestOf(header) && this.hasBytes(newest);
      const backup = isKnown ? newest : this.add(directory, kept);
      this.prune(uuid, directory);
      return backup;
    });
  }

  async setAside(uuid: KeyUuid, bytes: Buffer): Promise<string> {
    return await this.guarded(uuid, "cannot set aside what stands in place of a LUKS header", () => {
      const directory = this.make(uuid);
      const path = this.createNew(directory, ASIDE, () => bytes).path;
      for (const old of named(directory, ASIDE).toReversed().slice(this.settings.keep))
        shredFile(join(directory, `${old}${ASIDE}`));
      syncDirectory(directory);
      return path;
    });
  }

  backups(uuid: KeyUuid): readonly HeaderBackup[] {
    const directory = this.directoryOf(uuid);
    try {
      if (statGuarded(directory, PRIVATE_DIRECTORY) === undefined) return [];
      const stamps = named(directory, DESCRIPTION).toReversed();
      return stamps.flatMap((stamp) => this.backup(uuid, stamp) ?? []);
    } catch (thrown) {
      throw asRefusal(thrown, directory);
    }
  }

  takenFrom(volume: string): readonly HeaderBackup[] {
    return this.keys()
      .flatMap((uuid) => this.backups(uuid))
      .filter((backup) => backup.volume === volume)
      .sort((a, b) => b.takenAt.getTime() - a.takenAt.getTime());
  }

  read({ uuid, path, digest, takenAt }: HeaderBackup): Buffer {
    const bytes = readIfSafe(path, MOST_BYTES);
    if (bytes === undefined) {
      throw new LuksmithError("HEADER_BACKUP_MISSING", {
        what: `the copy of the LUKS header of key ${uuid} of ${takenAt.toISOString()} is not there`,
        why: `${path} is missing`,
        hint: "choose another one: luksmith header list",
      });
    }
    if (digestOf(bytes) === digest) return bytes;
    throw new LuksmithError("HEADER_BACKUP_INVALID", {
      what: `the copy of the LUKS header of key ${uuid} of ${takenAt.toISOString()} cannot be used`,
      why: `${path} is not what was written`,
      hint: "choose another one: luksmith header list",
    });
  }

  async destroy(uuid: KeyUuid, backups?: readonly HeaderBackup[]): Promise<void> {
    await this.guarded(uuid, "cannot destroy copies of a LUKS header", () => {
      const directory = this.directoryOf(uuid);
      if (statGuarded(directory, PRIVATE_DIRECTORY) === undefined) return;
      if (backups !== undefined) {
        for (const { takenAt } of backups) this.shred(directory, stampOf(takenAt));
        syncDirectory(directory);
        return;
      }
      for (const name of readdirSync(directory)) shredFile(join(directory, name));
      rmdirSync(directory);
      syncDirectory(this.settings.directory);
    });
  }

  keys(): readonly KeyUuid[] {
    const { directory } = this.settings;
    try {
      if (statGuarded(directory, PRIVATE_DIRECTORY) === undefined) return [];
      return readdirSync(directory).flatMap((name) => parseKeyUuid(name) ?? []);
    } catch (thrown) {
      throw asRefusal(thrown, directory);
    }
  }

  private backup(uuid: KeyUuid, stamp: string): HeaderBackup | undefined {
    const directory = this.directoryOf(uuid);
    const bytes = readIfSafe(join(directory, `${stamp}${DESCRIPTION}`), LONGEST_DESCRIPTION);
    const file = bytes && parseBackup(bytes, uuid, stamp);
    if (file === undefined) return undefined;
    const path = join(directory, `${stamp}${HEADER}`);
    const { reason, volume, length, digest } = file;
    if (sizeIfSafe(path) !== length) return undefined;
    return { uuid, takenAt: new Date(file.takenAt), reason, volume, length, digest, path };
  }

  private hasBytes(backup: HeaderBackup): boolean {
    const bytes = readIfSafe(backup.path, MOST_BYTES);
    return bytes !== undefined && digestOf(bytes) === backup.digest;
  }

  /** The bytes before what says that they are there. */
  private add(directory: string, kept: HeaderToKeep): HeaderBackup {
    const { path, takenAt } = this.createNew(directory, HEADER, () => kept.header);
    const stamp = stampOf(takenAt);
    try {
      createFile(join(directory, `${stamp}${DESCRIPTION}`), describeBackup(kept, takenAt), FILE_MODE);
    } catch (thrown) {
      tryShred(path);
      throw thrown;
    }
    const { uuid, volume, header, reason } = kept;
    return { uuid, takenAt, reason, volume, length: header.length, digest: digestOf(header), path };
  }

  /** Under a name that no file has, and later than all of them, whatever the clock says. */
  private createNew(directory: string, end: string, content: () => Buffer): { path: string; takenAt: Date } {
    const stamps = readdirSync(directory).flatMap((name) => stampIn(name, end) ?? []);
    let takenAt = this.clock.now();
    const last = stamps.sort().at(-1);
    if (last !== undefined && stampOf(takenAt) <= last) takenAt = new Date(dateOf(last).getTime() + 1);
    const path = join(directory, `${stampOf(takenAt)}${end}`);
    if (createFile(path, content(), FILE_MODE) === "created") return { path, takenAt };
    throw new Error(`${path} came to be under our lock`);
  }

  /** The copies that are too many, and bytes that a kill left without their description. */
  private prune(uuid: KeyUuid, directory: string): void {
    const tooMany = this.backups(uuid).slice(this.settings.keep);
    for (const { takenAt } of tooMany) this.shred(directory, stampOf(takenAt));
    const described = new Set(named(directory, DESCRIPTION));
    for (const stamp of named(directory, HEADER))
      if (!described.has(stamp)) shredFile(join(directory, `${stamp}${HEADER}`));
    syncDirectory(directory);
  }

  /** What says that they are there goes last: what a kill leaves is found again. */
  private shred(directory: string, stamp: string): void {
    shredFile(join(directory, `${stamp}${HEADER}`));
    shredFile(join(directory, `${stamp}${DESCRIPTION}`));
  }

  private directoryOf(uuid: KeyUuid): string {
    return join(this.settings.directory, uuid);
  }

  private make(uuid: KeyUuid): string {
    const directory = this.directoryOf(uuid);
    makeDirectory(directory, DIRECTORY_MODE);
    statGuarded(this.settings.directory, PRIVATE_DIRECTORY);
    statGuarded(directory, PRIVATE_DIRECTORY);
    return directory;
  }

  /** Does `work` alone on this host; what goes wrong is HEADER_BACKUP_FAILED. */
  private async guarded<T>(uuid: KeyUuid, what: string, work: () => T): Promise<T> {
    return await this.locks.hold(`header copies of ${uuid}`, async () => {
      try {
        return await Promise.resolve(work());
      } catch (thrown) {
        throw asFailure(thrown, what);
      }
    });
  }
}

/** All that a LUKS header can be long, and one more. */
const MOST_BYTES = 136 * 1024 * 1024 + 1;

function refuseForeign({ uuid, header, volume }: HeaderToKeep): void {
  const found = parsedHeader(header).uuid;
  if (found === uuid) return;
  throw new LuksmithError("LUKS_HEADER_INVALID", {
    what: `cannot keep a copy of the LUKS header of volume ${volume}`,
    why: `it is the header of key ${found} and not of ${uuid}`,
    hint: "see which volume the guest has: luksmith status",
  });
}

/** The stamps of the files with this end, the oldest first. */
function named(directory: string, end: string): string[] {
  return readdirSync(directory)
    .flatMap((name) => stampIn(name, end) ?? [])
    .sort();
}

/** For the way out of a failure. */
function tryShred(path: string): void {
  try {
    shredFile(path);
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
  }
}
