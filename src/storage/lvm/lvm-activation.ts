import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { blockDeviceAt } from "./lvm-device.js";
import { askLvm, runLvm } from "./lvm-command.js";
import { fullName, type LvName } from "./lvm-name.js";
import { reportLvAt } from "./lvm-report.js";
import { volumeUnreadable } from "../volume-error.js";
import type { VolumeLocks } from "../volume-lock.js";

/** Nothing to do at the end: it was active before. */
const FOUND_ACTIVE: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };

/**
 * Activates logical volumes for as long as they are used here, and leaves each as it was found. All who use a volume
 * that one of them has activated share a lock, and the last one to go deactivates it: none takes it from the others.
 * A process that is killed leaves it active.
 */
export class LvActivation {
  constructor(
    private readonly runner: CommandRunner,
    private readonly locks: VolumeLocks,
  ) {}

  /**
   * Makes sure that there is a device under `path`, the logical volume's, until what is returned is disposed of.
   * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE (LVM cannot activate it), LOCK_TIMEOUT
   */
  async use(path: string, lv: LvName): Promise<AsyncDisposable> {
    const users = `users of logical volume ${fullName(lv)}`;
    // in this order: whoever activates it here shares the lock first
    const isActive = (await blockDeviceAt(path)) !== "absent";
    if (isActive && !this.locks.wasShared(users)) return FOUND_ACTIVE;
    return await this.alone(lv, async () => {
      const isFoundActive = (await blockDeviceAt(path)) !== "absent";
      if (isFoundActive && !(await this.locks.isShared(users))) return FOUND_ACTIVE;
      const share = await this.locks.share(users);
      try {
        if (!isFoundActive) await this.activate(path, lv);
      } catch (thrown) {
        share[Symbol.dispose]();
        throw thrown;
      }
      return { [Symbol.asyncDispose]: () => this.leave(lv, users, share) };
    });
  }

  private async leave(lv: LvName, users: string, share: Disposable): Promise<void> {
    try {
      await this.alone(lv, async () => {
        share[Symbol.dispose]();
        if (!(await this.locks.isShared(users))) await this.deactivate(lv);
      });
    } catch (thrown) {
      // what was to be done with the volume is done; being active does it no harm
      if (!(thrown instanceof LuksmithError)) throw thrown;
    } finally {
      share[Symbol.dispose]();
    }
  }

  private async activate(path: string, lv: LvName): Promise<void> {
    if ((await reportLvAt(this.runner, path, lv)).isActive)
      throw volumeUnreadable(path, "LVM has it active, and its device is not there: run vgmknodes");
    const options = ["--activate", "y", "--ignoreactivationskip"];
    const answer = await askLvm(this.runner, "lvchange", [...options, "--", fullName(lv)]);
    if (answer.kind === "failed") throw volumeUnreadable(path, `LVM cannot activate it: ${answer.reason}`);
    if ((await blockDeviceAt(path)) !== "absent") return;
    await this.deactivate(lv);
    throw volumeUnreadable(path, "LVM was told to activate it, and its device is not there");
  }

  /** Where somebody has it in use by now, it stays active. */
  private async deactivate(lv: LvName): Promise<void> {
    await runLvm(this.runner, "lvchange", ["--activate", "n", "--", fullName(lv)]);
  }

  private alone<T>(lv: LvName, work: () => Promise<T>): Promise<T> {
    return this.locks.hold(`activation of logical volume ${fullName(lv)}`, work);
  }
}
