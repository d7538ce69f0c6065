import { createHash } from "node:crypto";
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { makeDirectory } from "../fs/atomic-file.js";
import { lockDescriptor, type Sharing } from "../fs/file-lock.js";
import { systemErrorOf } from "../fs/system-error.js";

/**
 * Locks, one for each volume or guest, between all processes of this host; exclusive where nothing else is said. The
 * kernel releases them whatever way this process ends (fs/file-lock.ts).
 */
export class VolumeLocks {
  /**
   * @param directory is made if it is missing; a lock's empty file stays there, since removing it would let two hold it
   * @param patience seconds to wait for another holder
   */
  constructor(
    private readonly runner: CommandRunner,
    private readonly directory = "/run/luksmith/lock",
    private readonly patience = 60,
  ) {}

  /**
   * Does `work` under the lock of `identity`, the same text for whoever means the same bytes. The lock's descriptor is
   * for a child that could outlive this process: inheriting it, the child keeps the lock until it has ended as well.
   * @throws LOCK_TIMEOUT, NOT_PERMITTED
   */
  async hold<T>(
    identity: string,
    work: (lock: number) => Promise<T>,
    sharing: Sharing = "exclusive",
  ): Promise<T> {
    const fd = this.openLockFile(identity);
    try {
      await this.lock(fd, sharing);
      return await work(fd);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Has the lock of `identity` together with all who share it, until what is returned is disposed of.
   * @throws LOCK_TIMEOUT, NOT_PERMITTED
   */
  async share(identity: string): Promise<Disposable> {
    const fd = this.openLockFile(identity);
    try {
      await this.lock(fd, "shared");
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
    let isOpen = true;
    return {
      [Symbol.dispose]() {
        if (isOpen) closeSync(fd);
        isOpen = false;
      },
    };
  }

  /** Whether somebody shares it now. @throws NOT_PERMITTED */
  async isShared(identity: string): Promise<boolean> {
    if (!this.wasShared(identity)) return false;
    const fd = this.openLockFile(identity);
    try {
      return (await lockDescriptor(fd, { runner: this.runner, patience: 0 })) === "busy";
    } finally {
      closeSync(fd);
    }
  }

  /** Whether anybody has shared it since this host was started. Starts no process. */
  wasShared(identity: string): boolean {
    return existsSync(this.pathOf(identity));
  }

  private pathOf(identity: string): string {
    return `${this.directory}/${createHash("sha256").update(identity).digest("hex")}`;
  }

  private openLockFile(identity: string): number {
    try {
      makeDirectory(this.directory, 0o700);
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
      return openSync(this.pathOf(identity), flags, 0o600);
    } catch (thrown) {
      const error = systemErrorOf(thrown);
      if (error === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot lock volumes in ${this.directory}`,
        why: error.text,
        hint: "run luksmith as root",
      });
    }
  }

  private async lock(fd: number, sharing: Sharing): Promise<void> {
    const { runner, patience } = this;
    if ((await lockDescriptor(fd, { runner, patience, sharing })) === "locked") return;
    throw new LuksmithError("LOCK_TIMEOUT", {
      what: "another luksmith process is working on the same guest or volume",
      why: `it did not finish within ${this.patience} s`,
      hint: "try again when it has finished",
    });
  }
}
