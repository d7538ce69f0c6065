import { LuksmithError } from "../../error/luksmith-error.js";
import { shellWord } from "../../error/shell-word.js";
import type { CommandResult, CommandRunner } from "../../exec/command-runner.js";
import { volumeExists, volumeNotAllocated, volumeNotGrown, volumeUnreadable } from "../volume-error.js";

/** A busy pool finishes its transactions late, which is no reason to fail. */
const TIMEOUT = 120_000;

/**
 * What zvols are called under /dev: by udev's zvol_id, with `+`, which no dataset has in its name, for each space. All
 * other characters of datasets' names stay as they are. Snapshots (`@`) and what `zfs receive` has not finished (`%`)
 * are none.
 */
const LINK = /^\/dev\/zvol\/([A-Za-z][\w.:+-]*(?:\/(?!\.{1,2}(?:\/|$))[\w.:+-]+)+)$/;

/** The name of the dataset whose device `path` is by its name; undefined for any other path. */
export function datasetOf(path: string): string | undefined {
  return LINK.exec(path)?.[1]?.replaceAll("+", " ");
}

/** A ZFS dataset that is a volume, as the zfs tool shows it. No name begins with a dash: none is taken for an option. */
export class ZfsDataset {
  /** @param path of its device, for messages */
  constructor(
    private readonly runner: CommandRunner,
    readonly name: string,
    readonly path: string,
  ) {}

  /** @throws VOLUME_UNREADABLE: ZFS has no such dataset, or cannot tell */
  async properties(...names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const answer = await this.zfs("get", "-Hp", "-o", "property,value", names.join(","), this.name);
    if (answer.exitCode !== 0) throw volumeUnreadable(this.path, complaintOf(answer));
    return new Map(
      linesOf(answer).map((line) => [line.split("\t", 1)[0] ?? "", line.replace(/^[^\t]*\t/, "")]),
    );
  }

  /** Whatever it is. @throws VOLUME_UNREADABLE: ZFS cannot tell */
  async isThere(): Promise<boolean> {
    const answer = await this.zfs("get", "-Hp", "-o", "property,value", "type", this.name);
    if (answer.exitCode === 0) return true;
    if (complaintOf(answer).endsWith(": dataset does not exist")) return false;
    throw volumeUnreadable(this.path, complaintOf(answer));
  }

  /** Its size and what it grows by, in bytes. @throws VOLUME_UNREADABLE */
  async sizes(): Promise<{ readonly volsize: bigint; readonly volblocksize: bigint }> {
    const properties = await this.properties("volsize", "volblocksize");
    const [volsize, volblocksize] = ["volsize", "volblocksize"].map((name) => {
      const value = properties.get(name) ?? "";
      if (!/^[1-9][0-9]*$/.test(value)) throw volumeUnreadable(this.path, `zfs told no ${name} of it`);
      return BigInt(value);
    }) as [bigint, bigint];
    return { volsize, volblocksize };
  }

  /** @throws VOLUME_UNREADABLE */
  async snapshots(): Promise<readonly string[]> {
    const answer = await this.zfs("list", "-H", "-o", "name", "-t", "snapshot", "-d", "1", this.name);
    if (answer.exitCode !== 0) throw volumeUnreadable(this.path, complaintOf(answer));
    return linesOf(answer);
  }

  /** @param size a multiple of its volblocksize; a reservation as large as the volume grows with it */
  async enlarge(size: bigint): Promise<void> {
    const answer = await this.zfs("set", `volsize=${size}`, this.name);
    if (answer.exitCode !== 0) throw volumeNotGrown(this.path, complaintOf(answer));
  }

  /**
   * A sparse volume of at least `size` bytes, which zfs rounds up to its volblocksize. What its parent inherits to it
   * does not hide its device (volmode), and the host looks for no partitions in it.
   * @throws VOLUME_EXISTS, VOLUME_ALLOCATE_FAILED
   */
  async create(size: bigint): Promise<void> {
    const answer = await this.zfs("create", "-s", "-o", "volmode=dev", "-V", String(size), this.name);
    if (answer.exitCode === 0) return;
    const complaint = complaintOf(answer);
    throw complaint.endsWith(": dataset already exists")
      ? volumeExists(this.path)
      : volumeNotAllocated(this.path, complaint);
  }

  /** Removes what `create` has just made. It says no where there is anything that depends on it. */
  async destroy(): Promise<void> {
    const answer = await this.zfs("destroy", this.name);
    if (answer.exitCode === 0) return;
    throw new LuksmithError("VOLUME_ALLOCATE_FAILED", {
      what: `cannot remove volume ${this.path} again`,
      why: complaintOf(answer),
      hint: `zfs destroy ${shellWord(this.name)}`,
    });
  }

  private zfs(...args: readonly string[]): Promise<CommandResult> {
    // its one exit code for whatever it could not do; 2 means that it was not understood
    return this.runner.run({ tool: "zfs", args, answers: [1], timeout: TIMEOUT });
  }
}

function linesOf({ stdout }: CommandResult): string[] {
  return stdout.split("\n").filter((line) => line !== "");
}

/** `cannot open 'tank/vm1': dataset does not exist` */
function complaintOf({ stderr, exitCode }: CommandResult): string {
  return stderr.trimEnd().split("\n").at(-1) || `zfs ended with exit code ${exitCode} and said nothing`;
}
