import { type BigIntStats, constants } from "node:fs";
import { lstat, open, readdir, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { syncDirectory } from "../../../fs/atomic-file.js";
import { systemErrorOf } from "../../../fs/system-error.js";
import { fileUsersOf } from "../../../storage/block/device-users.js";
import type { ImageLock } from "../../../storage/image-lock.js";
import { RawImage } from "../../../storage/raw/raw-image.js";
import type { QemuNode } from "../../../storage/storage-backend.js";
import type { PathVolume } from "../../../storage/volume.js";
import { volumeAbsent, volumeBusy, volumeExists, volumeUnreadable } from "../../../storage/volume-error.js";
import { VolumeFile } from "../../../storage/volume-file.js";
import type { BaseStorage } from "./base-storage.js";
import type { BasePorts } from "./index.js";
import { eraseHeader, NOTHING_TO_DO, requireLockable, saying } from "./volume-change.js";
import { isVolumeName, withoutSnapshots } from "./volume-name.js";

const ENDING = ".luks";

/** Image files in one directory, `NAME.luks`, which only root can read. Whatever else is there is not touched. */
export class DirectoryBase implements BaseStorage {
  readonly type = "directory";

  /** @param path of the directory, absolute */
  constructor(
    readonly path: string,
    private readonly ports: BasePorts,
  ) {}

  volume(name: string, snapshot?: string): PathVolume {
    if (snapshot !== undefined) throw withoutSnapshots(this.type, name);
    return { kind: "file", path: this.pathOf(name), format: "raw" };
  }

  qemuNode(name: string, snapshot: string | undefined, secretId: string): QemuNode {
    const filename = this.volume(name, snapshot).path;
    return { driver: "luks", "key-secret": secretId, file: { driver: "file", filename } };
  }

  async list(): Promise<string[]> {
    const entries = await readdir(this.path, { withFileTypes: true }).catch((thrown: unknown) => {
      throw volumeUnreadable(this.path, reasonOf(thrown));
    });
    return entries
      .filter((entry) => entry.isFile() && entry.name.endsWith(ENDING))
      .map(({ name }) => name.slice(0, -ENDING.length))
      .filter(isVolumeName)
      .sort();
  }

  async requireUnused(name: string): Promise<void> {
    await using image = await this.open(name);
    if (image !== undefined) await requireLockable(image, this.ports.locks).catch(saying(inUse(image.name)));
  }

  async remove(name: string): Promise<void> {
    const path = this.pathOf(name);
    const failed = saying(`cannot remove volume ${path}`);
    {
      await using image = await this.open(name);
      if (image === undefined) return;
      await eraseHeader(image, this.ports.locks).catch(failed);
      if (!(await image.isInPlace())) return;
    }
    await unlink(path).catch(asChangeFailed(`cannot remove volume ${path}`));
    this.sync(`cannot remove volume ${path}`);
  }

  async rename(name: string, to: string): Promise<void> {
    const [from, target] = [this.pathOf(name), this.pathOf(to)];
    const task = `cannot rename volume ${from}`;
    if ((await statsOf(from)) === undefined) throw volumeAbsent(from);
    await this.requireUnused(name);
    // of all who would give this name to a file, here or on another host, one gets it
    await reserve(target, task);
    try {
      await rename(from, target);
    } catch (thrown) {
      await unlink(target);
      throw changeFailed(task, thrown);
    }
    this.sync(task);
  }

  async activate(name: string, snapshot?: string): Promise<AsyncDisposable> {
    const { path } = this.volume(name, snapshot);
    if ((await statsOf(path)) === undefined) throw volumeAbsent(path);
    return NOTHING_TO_DO;
  }

  private pathOf(name: string): string {
    return join(this.path, `${name}${ENDING}`);
  }

  /** Undefined for a volume that is not there. */
  private async open(name: string): Promise<RawImage | undefined> {
    const path = this.pathOf(name);
    if ((await statsOf(path)) === undefined) return undefined;
    return new BaseImage(this.ports.runner, await VolumeFile.open(path, "read-write"));
  }

  private sync(task: string): void {
    try {
      syncDirectory(this.path);
    } catch (thrown) {
      throw changeFailed(task, thrown);
    }
  }
}

/** Locks tell only of who takes some: Proxmox VE's QEMU does not by itself. */
class BaseImage extends RawImage {
  override async lock(volumeLock: number): Promise<ImageLock> {
    const lock = await super.lock(volumeLock);
    const refuseUsers = () => {
      const [user] = fileUsersOf(this.file.stats);
      if (user !== undefined)
        throw volumeBusy(this.name, `process ${user.pid} (${user.command}) has it open`);
    };
    const assertHeld = async () => {
      await lock.assertHeld();
      refuseUsers();
    };
    try {
      await assertHeld();
    } catch (thrown) {
      await lock[Symbol.asyncDispose]();
      throw thrown;
    }
    return { assertHeld, [Symbol.asyncDispose]: () => lock[Symbol.asyncDispose]() };
  }
}

/** Undefined if there is nothing. @throws VOLUME_UNREADABLE for what is no file: a link could lead anywhere */
async function statsOf(path: string): Promise<BigIntStats | undefined> {
  try {
    const stats = await lstat(path, { bigint: true });
    if (stats.isFile()) return stats;
  } catch (thrown) {
    const code = systemErrorOf(thrown)?.code;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw volumeUnreadable(path, reasonOf(thrown));
  }
  throw volumeUnreadable(path, "it is not a regular file, and luksmith follows no symbolic link here");
}

/** @throws VOLUME_EXISTS, VOLUME_WRITE_FAILED */
async function reserve(path: string, task: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    await handle.close();
  } catch (thrown) {
    if (systemErrorOf(thrown)?.code === "EEXIST") throw volumeExists(path);
    throw changeFailed(task, thrown);
  }
}

function inUse(path: string): string {
  return `volume ${path} is in use`;
}

function asChangeFailed(what: string): (thrown: unknown) => never {
  return (thrown) => {
    throw changeFailed(what, thrown);
  };
}

function changeFailed(what: string, thrown: unknown): LuksmithError {
  return new LuksmithError("VOLUME_WRITE_FAILED", {
    what,
    why: reasonOf(thrown),
    hint: "put this right and try again",
  });
}

/** The kernel's words; what is no system error is a mistake of ours and goes on as it is. */
function reasonOf(thrown: unknown): string {
  const error = systemErrorOf(thrown);
  if (error === undefined) throw thrown;
  return error.text;
}
