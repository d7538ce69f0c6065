import { createHash } from "node:crypto";
import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { askLvm, runLvm } from "./lvm-command.js";
import { fullName, type LvName } from "./lvm-name.js";
import { type LvReport, reportLv } from "./lvm-report.js";
import { wholeSectors } from "../sectors.js";
import { volumeExists, volumeNotAllocated } from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/** Where a new logical volume comes from: extents of its group, which hold what they held, or blocks of a thin pool. */
export type AllocationPlace =
  { readonly kind: "group" } | { readonly kind: "thin-pool"; readonly pool: string };

/** Bytes that are overwritten by one command. */
const STEP = 1024 ** 3;
const STEP_TIMEOUT = 600_000;

/** Bytes. */
interface Range {
  readonly from: number;
  readonly to: number;
}

/** Bytes at a volume's end where RAID, LVM and partition tables keep copies of their signatures. */
const END = 1024 ** 2;

/** Behind what is written over the header's place, and before the end, nobody looks for anything. */
function endsOf({ size }: LvReport): Range[] {
  const last = Math.max(PAYLOAD_OFFSET, Number(size) - END);
  return [
    { from: 0, to: PAYLOAD_OFFSET },
    { from: last, to: Number(size) },
  ];
}

/** Of a volume that is not overwritten yet: whoever finds it under its temporary name may remove it. */
const UNFINISHED = "luksmith.unfinished";

type Ports = { readonly runner: CommandRunner; readonly locks: VolumeLocks };

/** `VolumeAllocator.allocate` for a logical volume. What a killed try has left is removed by the next one. */
export function allocateLv(
  path: string,
  lv: LvName,
  guestSize: bigint,
  place: AllocationPlace,
  ports: Ports,
): Promise<bigint> {
  const size = ownSize(guestSize);
  return allocating(path, lv, ports, async (lock) => {
    switch (place.kind) {
      case "group":
        return await new ThickAllocation(ports.runner, path, lv, lock).run(size, "all");
      case "thin-pool":
        return (await create(ports.runner, path, lv, thinArguments(place.pool, size))).size;
    }
  });
}

/**
 * `EncryptedAllocator.allocateEncrypted` for a volume of a group's extents: `format` writes the header while the volume
 * has a temporary name, under the path that it is given. What a killed try has left is removed by the next one.
 */
export async function allocateFormattedLv<Header>(
  path: string,
  lv: LvName,
  guestSize: bigint,
  format: (temporaryPath: string) => Promise<Header>,
  ports: Ports,
): Promise<Header> {
  return await allocating(path, lv, ports, async (lock) => {
    let header: { readonly made: Header } | undefined;
    const allocation = new ThickAllocation(ports.runner, path, lv, lock, async (temporary) => {
      header = { made: await format(temporary) };
    });
    await allocation.run(ownSize(guestSize), "ends");
    if (header === undefined) throw new Error(`${path} was made and not formatted`);
    return header.made;
  });
}

function ownSize(guestSize: bigint): bigint {
  return wholeSectors(guestSize) + BigInt(PAYLOAD_OFFSET);
}

/** @throws VOLUME_EXISTS, VOLUME_ALLOCATE_FAILED */
function allocating<Made>(
  path: string,
  lv: LvName,
  { runner, locks }: Ports,
  make: (lock: number) => Promise<Made>,
): Promise<Made> {
  return locks.hold(`size of logical volume ${fullName(lv)}`, async (lock) => {
    try {
      if ((await reportLv(runner, lv)) !== undefined) throw volumeExists(path);
      return await make(lock);
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code === "VOLUME_EXISTS") throw thrown;
      throw volumeNotAllocated(path, thrown.why ?? thrown.message);
    }
  });
}

/**
 * Has its name only when it is empty, or has its header: until then it holds what its extents held, and nobody could
 * tell.
 */
class ThickAllocation {
  readonly #temporary: LvName;

  constructor(
    private readonly runner: CommandRunner,
    private readonly path: string,
    private readonly lv: LvName,
    private readonly lock: number,
    /** What is done with the volume, at a path, before it gets its name. */
    private readonly finish: (temporaryPath: string) => Promise<void> = () => Promise.resolve(),
  ) {
    this.#temporary = { group: lv.group, volume: temporaryName(lv.volume) };
  }

  /** @param overwriting all of it, or where others look for signatures */
  async run(size: bigint, overwriting: "all" | "ends"): Promise<bigint> {
    await this.removeLeftover();
    const made = await create(this.runner, this.path, this.#temporary, thickArguments(size));
    try {
      await this.overwrite(overwriting === "all" ? [{ from: 0, to: Number(made.size) }] : endsOf(made));
      await this.finish(this.temporaryPath);
      await this.rename();
      return made.size;
    } catch (thrown) {
      // whatever has this name by now: only the one that was made here
      await this.remove(`lv_uuid=${made.uuid}`);
      throw thrown;
    }
  }

  private async removeLeftover(): Promise<void> {
    const left = await reportLv(this.runner, this.#temporary);
    if (left !== undefined) await this.remove(`lv_uuid=${left.uuid} && lv_tags=${UNFINISHED}`);
  }

  private async remove(selection: string): Promise<void> {
    await runLvm(this.runner, "lvremove", ["--yes", "--select", selection, "--", this.lv.group]);
  }

  private get temporaryPath(): string {
    return `/dev/${this.#temporary.group}/${this.#temporary.volume}`;
  }

  /** Extents hold what the volume before held: a volume is empty, and may be formatted, once it is all zeros. */
  private async overwrite(ranges: readonly Range[]): Promise<void> {
    await using file = await VolumeFile.open(this.temporaryPath, "read-write", "block device");
    for (const { from, to } of ranges) {
      for (let offset = from; offset < to; offset += STEP) {
        const length = Math.min(STEP, to - offset);
        await this.runner.run({
          tool: "blkdiscard",
          args: ["--zeroout", "--offset", `${offset}`, "--length", `${length}`, "--", "/proc/self/fd/3"],
          // one that outlives this process keeps the next try waiting
          fds: [file.fd, this.lock],
          timeout: STEP_TIMEOUT,
        });
      }
    }
    await file.sync();
  }

  private async rename(): Promise<void> {
    const { group, volume } = this.lv;
    const names = [this.#temporary.volume, volume];
    const answer = await askLvm(this.runner, "lvrename", ["--", group, ...names]);
    if (answer.kind === "failed") throw notMade(this.path, answer.reason);
    // killed before this, it is a volume as any other: the tag counts under a temporary name alone
    await runLvm(this.runner, "lvchange", ["--deltag", UNFINISHED, "--", fullName(this.lv)]);
  }
}

async function create(
  runner: CommandRunner,
  path: string,
  { group, volume }: LvName,
  more: readonly string[],
): Promise<LvReport> {
  // --yes: it would ask before it wipes what it finds
  const answer = await askLvm(runner, "lvcreate", ["--yes", ...more, "--name", volume, "--", group]);
  if (answer.kind === "failed") throw notMade(path, answer.reason);
  const made = await reportLv(runner, { group, volume });
  if (made === undefined) throw volumeNotAllocated(path, "it was removed at once");
  return made;
}

function notMade(path: string, reason: string): LuksmithError {
  // the name in question, and not one that is temporary
  const isTaken = / already exists/.test(reason) && !reason.includes(TEMPORARY);
  return isTaken ? volumeExists(path) : volumeNotAllocated(path, reason);
}

const TEMPORARY = "luksmith-unfinished-";

/** Short, however long the name is; one for each, so that nothing is taken for another volume's leftover. */
function temporaryName(volume: string): string {
  return `${TEMPORARY}${createHash("sha256").update(volume).digest("hex").slice(0, 16)}`;
}

function thickArguments(size: bigint): string[] {
  // nobody may find, and act on, what the extents hold before they are overwritten
  const wiped = ["--type", "linear", "--wipesignatures", "y", "--zero", "y"];
  return [...wiped, "--addtag", UNFINISHED, "--size", `${size}b`];
}

function thinArguments(pool: string, size: bigint): string[] {
  return ["--type", "thin", "--thinpool", pool, "--virtualsize", `${size}b`];
}
