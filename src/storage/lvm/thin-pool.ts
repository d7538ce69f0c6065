import type { CommandRunner } from "../../exec/command-runner.js";
import type { ThinPoolDevice } from "./lvm-device.js";

const SECTOR = 512;
/** The smallest blocks that a thin pool can have take a LUKS header's first writes in so many. */
const BLOCKS_FOR_HEADER = 4;
/** A pool that runs out of metadata blocks in the middle fails for all of its volumes. */
const METADATA_RESERVE = 64;

/** What of a thin device has blocks. */
export interface ThinMapping {
  /** Bytes up to the end of the last of them. */
  readonly end: number;
}

/** `0 24576 thin MAPPED HIGHEST`, sectors; undefined for what is not a thin device alone, or of a pool that failed. */
export async function thinMapping(runner: CommandRunner, number: string): Promise<ThinMapping | undefined> {
  const [target = "", ...others] = await ask(runner, "status", number);
  const [, mapped, highest] = /^0 \d+ thin (\d+) (-|\d+)$/.exec(target) ?? [];
  if (mapped === undefined || highest === undefined || others.length > 0) return undefined;
  if (mapped === "0") return { end: 0 };
  return highest === "-" ? undefined : { end: (Number(highest) + 1) * SECTOR };
}

/** Why nothing new can be written to volumes of the pool; undefined if it can. */
export async function thinPoolTrouble(
  runner: CommandRunner,
  { number, name }: ThinPoolDevice,
): Promise<string | undefined> {
  const [target = ""] = await ask(runner, "status", number);
  const status = /^0 \d+ thin-pool \d+ (\d+\/\d+) (\d+\/\d+) \S+ (\w+) (.*)$/.exec(target);
  const [, metadata, data, mode, options] = status ?? [];
  const pool = `thin pool ${name}`;
  if (metadata === undefined || data === undefined || options === undefined) return `${pool} has failed`;
  if (options.includes("needs_check")) return `${pool} must be repaired first: lvconvert --repair ${name}`;
  if (freeIn(metadata) < METADATA_RESERVE)
    return `${pool} is full: ${freeIn(metadata)} of its metadata blocks are free`;
  if (mode === "out_of_data_space" || freeIn(data) < BLOCKS_FOR_HEADER)
    return `${pool} is full: ${freeIn(data)} of its blocks are free`;
  return mode === "rw" ? undefined : `${pool} is read-only`;
}

export interface ThinLayout {
  /** Bytes. */
  readonly blockSize: number;
  /** Whether blocks are overwritten with zeros before a volume gets them. */
  readonly clears: boolean;
}

/** `0 131072 thin-pool METADATA DATA BLOCKSIZE LOWWATER [COUNT OPTION…]` */
export async function thinLayout(
  runner: CommandRunner,
  { number, name }: ThinPoolDevice,
): Promise<ThinLayout> {
  const [target = ""] = await ask(runner, "table", number);
  const [, blockSize, options] = /^0 \d+ thin-pool \S+ \S+ (\d+) \S+(.*)$/.exec(target) ?? [];
  if (blockSize === undefined || options === undefined) throw new Error(`${name} is no thin pool: ${target}`);
  return { blockSize: Number(blockSize) * SECTOR, clears: !options.includes("skip_block_zeroing") };
}

/** Of `USED/TOTAL`. */
function freeIn(usage: string): number {
  const [used = 0, total = 0] = usage.split("/").map(Number);
  return total - used;
}

/** The device's targets, one a line. */
async function ask(runner: CommandRunner, what: "status" | "table", number: string): Promise<string[]> {
  const [major = "", minor = ""] = number.split(":");
  // without flushing: asking must not write, nor wait for a pool that cannot
  const noflush = what === "status" ? ["--noflush"] : [];
  const { stdout } = await runner.run({
    tool: "dmsetup",
    args: [what, ...noflush, "--major", major, "--minor", minor],
  });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.trimEnd());
}
