import { statfsSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Clock } from "../event/clock.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { Logger } from "../log/logger.js";
import { currentActor } from "./actor.js";
import { withAppendLock } from "./append-lock.js";
import type { AuditLog, KeyUse } from "./audit-log.js";
import { appendEntries, tryOpenLog } from "./chain-file.js";
import { type ChainEnd, digestOf } from "./entry.js";
import { tellJournal } from "./journal.js";

/** Bytes that must be free for a few entries. */
const ROOM = 64 * 1024;

export interface AuditOptions {
  /** Absolute path. */
  readonly file: string;
  readonly required: boolean;
  readonly runner: CommandRunner;
  readonly clock: Clock;
  readonly logger: () => Pick<Logger, "warn">;
  /** Where the lock is, which must not survive a reboot. */
  readonly locks?: string;
  /** Hears of what was written. */
  readonly journal?: (uses: readonly KeyUse[], end: ChainEnd) => void;
}

interface Waiting {
  readonly uses: readonly KeyUse[];
  readonly settle: (failure?: LuksmithError) => void;
}

/** JSON lines, each with the hash of the one before; what is recorded at once by several is one write and one sync. */
export class FileAuditLog implements AuditLog {
  readonly #options: AuditOptions;
  readonly #lock: string;
  #waiting: Waiting[] = [];
  #writing = false;
  #warned = false;

  constructor(options: AuditOptions) {
    this.#options = options;
    this.#lock = `${options.locks ?? "/run/luksmith/lock"}/audit-${digestOf(options.file).slice(0, 16)}`;
  }

  async record(...uses: readonly KeyUse[]): Promise<void> {
    if (uses.length === 0) return;
    const failure = await new Promise<LuksmithError | undefined>((settle) => {
      this.#waiting.push({ uses, settle });
      if (!this.#writing) void this.#write();
    });
    if (failure === undefined) return;
    if (this.#options.required) throw failure;
    this.#warn(failure);
  }

  requireWritable(): void {
    const { file, required } = this.#options;
    if (!required) return;
    try {
      tryOpenLog(file);
      const { bfree, bsize } = statfsSync(dirname(file));
      if (bfree * bsize < ROOM) throw unwritable(file, "there is no room on its file system");
    } catch (thrown) {
      throw asUnwritable(file, thrown);
    }
  }

  async #write(): Promise<void> {
    this.#writing = true;
    // whoever records in the same turn, or until the lock is free, is in the same write
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      let taken: Waiting[] = [];
      let failure: LuksmithError | undefined;
      try {
        const { runner } = this.#options;
        const done = await withAppendLock(this.#lock, runner, () => {
          taken = this.#take();
          this.#append(taken.flatMap(({ uses }) => uses));
        });
        if (done === "busy") throw unwritable(this.#options.file, "another process holds it for too long");
      } catch (thrown) {
        failure = asUnwritable(this.#options.file, thrown);
        if (taken.length === 0) taken = this.#take();
      }
      for (const { settle } of taken) settle(failure);
    }
    this.#writing = false;
  }

  #take(): Waiting[] {
    const taken = this.#waiting;
    this.#waiting = [];
    return taken;
  }

  #append(uses: readonly KeyUse[]): void {
    const { file, clock, journal = tellJournal } = this.#options;
    const end = appendEntries(file, uses, { time: clock.now(), host: hostname(), by: currentActor() });
    journal(uses, end);
  }

  #warn({ message, why }: LuksmithError): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#options
      .logger()
      .warn(`uses of keys are not recorded: ${message}${why === undefined ? "" : `: ${why}`}`);
  }
}

function asUnwritable(file: string, thrown: unknown): LuksmithError {
  if (thrown instanceof LuksmithError) return thrown;
  const failure = systemErrorOf(thrown);
  return unwritable(file, failure?.text ?? String(thrown), thrown);
}

function unwritable(file: string, why: string, cause?: unknown): LuksmithError {
  return new LuksmithError("AUDIT_UNWRITABLE", {
    what: `cannot write the audit log ${file}`,
    why,
    hint: "make room or mend its directory; audit.required in the settings says whether keys are used without it",
    cause,
  });
}
