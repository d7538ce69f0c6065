import type { CommandRunner } from "../exec/command-runner.js";
import type { Secret } from "../secret/secret.js";
import { type MemoryFile, secretFile } from "../secret/secret-file.js";
import type { QemuNode } from "../storage/storage-backend.js";
import { imageOptions } from "./image-options.js";

/** A disk's bytes as its guest sees them, the way QEMU reaches them: decrypted by it where the node says so. */
export interface CopyEnd {
  readonly node: (path: string) => QemuNode;
  /** An open file or device that qemu-img inherits, and finds at `path`: no other can be opened in its place. */
  readonly fd?: number;
  /** What the node names as secrets; stay the caller's. */
  readonly secrets: readonly NodeSecret[];
  /**
   * Set for an image of which all is copied: no window is laid over it. QEMU 7.2 takes what an overlay has not,
   * and its base has, for zeros if it is asked through a window.
   */
  readonly isWhole?: true;
}

export interface NodeSecret {
  readonly id: string;
  readonly passphrase: Secret;
}

export interface CopyRequest {
  readonly source: CopyEnd;
  readonly target: CopyEnd;
  /** Bytes from the start; both ends have at least as many. What the target has behind them is not touched. */
  readonly size: bigint;
  /** An open descriptor that QEMU's tool inherits: a lock that it keeps if it outlives this process. */
  readonly lock: number;
}

export interface CopyOptions {
  /**
   * What becomes of zeros in the source: `skip` only for a target that this process has made, and that reads as zeros
   * as long as nothing is written.
   */
  readonly zeros?: "write" | "skip";
  /** Bytes a second at most. */
  readonly rate?: bigint | undefined;
}

/** Hears how far it is, in percent. */
export type Percent = (percent: number) => void;

/** qemu-img's word for "the contents differ". */
const DIFFERENT = 1;

/**
 * Reads and writes at once, QEMU's most. It is for storage that is far away: on a local disk 1, 2, 4, 8 and 16 differed by
 * less than their rounds did, since one thread encrypts.
 */
const COROUTINES = "16";

/** The size of a volume decides how long it takes. */
const NO_LIMIT = 0;

/**
 * Copies and compares disks by qemu-img, whatever encrypts either of them. Both sides are plaintext in the memory of
 * that one process alone.
 */
export class VolumeCopier {
  constructor(private readonly runner: CommandRunner) {}

  /**
   * Writes every byte, also where the source is zero: what a new encrypted volume reads as is no zeros. Holes of the
   * source are never read. Returns when the target has been told to keep it. @throws TOOL_FAILED, TOOL_MISSING
   */
  async copy(
    request: CopyRequest,
    progress?: Percent,
    { zeros = "write", rate }: CopyOptions = {},
  ): Promise<void> {
    const options = [
      // the target is there; its default cache mode would never flush
      ...["-n", "-t", "writeback", "--target-image-opts"],
      // in any order: each byte has its place, and all are verified
      ...["-W", "-m", COROUTINES],
      ...(zeros === "skip" ? ["--target-is-zero"] : []),
      ...(rate === undefined ? [] : ["-r", String(rate)]),
    ];
    await this.run("convert", options, request, progress);
  }

  /** Reads both to their ends, or to where they differ. @throws TOOL_FAILED, TOOL_MISSING */
  async compare(request: CopyRequest, progress?: Percent): Promise<"same" | "different"> {
    const exitCode = await this.run("compare", [], request, progress);
    return exitCode === DIFFERENT ? "different" : "same";
  }

  private async run(
    verb: "convert" | "compare",
    options: readonly string[],
    { source, target, size, lock }: CopyRequest,
    progress: Percent | undefined,
  ): Promise<number> {
    const secrets = [...source.secrets, ...target.secrets];
    const files = filesOf(secrets);
    try {
      const inherited = [source.fd ?? lock, target.fd ?? lock];
      const ends = [source, target].map(({ node, isWhole }, index) => {
        const file = node(`/proc/self/fd/${3 + secrets.length + index}`);
        if (isWhole) return imageOptions(file);
        return imageOptions({ driver: "raw", size: Number(size), file });
      });
      const { exitCode } = await this.runner.run({
        tool: "qemu-img",
        // -U: whoever calls holds the locks on the source, QEMU's own among them
        args: [verb, "-p", "-U", ...options, ...secretObjects(secrets), "--image-opts", "--", ...ends],
        fds: [...files.map(({ fd }) => fd), ...inherited, lock],
        answers: verb === "compare" ? [DIFFERENT] : [],
        timeout: NO_LIMIT,
        ...(progress && { onOutput: percentReader(progress) }),
      });
      return exitCode;
    } finally {
      for (const file of files) file[Symbol.dispose]();
    }
  }
}

function filesOf(secrets: readonly NodeSecret[]): MemoryFile[] {
  const files: MemoryFile[] = [];
  try {
    for (const { passphrase } of secrets) files.push(secretFile(passphrase));
    return files;
  } catch (thrown) {
    for (const file of files) file[Symbol.dispose]();
    throw thrown;
  }
}

/** The child's descriptors begin with theirs. */
function secretObjects(secrets: readonly NodeSecret[]): string[] {
  return secrets.flatMap(({ id }, index) => ["--object", `secret,id=${id},file=/proc/self/fd/${3 + index}`]);
}

/** qemu-img writes `    (12.34/100%)` and a carriage return, again and again. */
function percentReader(progress: Percent): (text: string) => void {
  let last = -1;
  return (text) => {
    const found = [...text.matchAll(/\((\d{1,3})\.\d\d\/100%\)/g)].at(-1)?.[1];
    const percent = Number(found ?? last);
    if (percent === last) return;
    last = percent;
    progress(percent);
  };
}
