import type { Program } from "./program.js";

/** How QEMU opens what it reads or writes. */
export interface Opening {
  /** For `--image-opts`. */
  readonly image: string;
  /** Open file descriptor of the passphrase, for what `key-secret=key` names. */
  readonly key?: number;
  readonly environment?: readonly string[];
}

/** The same requests, whatever they are sent to. */
export interface Job {
  readonly name: string;
  program(opening: Opening): Program;
}

export interface JobSize {
  /** How many requests of 4 KiB a job sends that waits for each. */
  readonly single: number;
  /** And one that waits for 32 together. */
  readonly batched: number;
  /** Bytes of the disk, all of which the jobs with large requests read or write. */
  readonly disk: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const SMALL = 4 * KIB;
const DEPTH = 32;
/** Between two small requests, so that none is next to the one before it. */
const STRIDE = MIB + SMALL;

/** `qemu-img bench` would be the tool for these, had it an option for secrets. */
export function makeJobs({ single, batched, disk }: JobSize) {
  const offsets = (count: number) =>
    Array.from({ length: count }, (_, index) => (index * STRIDE) % (disk - (disk % STRIDE)));
  const each = (command: string) => offsets(single).map((at) => `${command} ${at} ${SMALL}`);
  const batches = (command: string) =>
    offsets(batched).flatMap((at, index) => [
      `${command} ${at} ${SMALL}`,
      ...((index + 1) % DEPTH === 0 ? ["aio_flush"] : []),
    ]);
  return {
    singleReads: qemuIo("4 KiB reads, one at a time", each("read -q")),
    singleWrites: qemuIo("4 KiB writes, one at a time", each("write -q")),
    batchedReads: qemuIo(`4 KiB reads, ${DEPTH} at a time`, batches("aio_read -q")),
    batchedWrites: qemuIo(`4 KiB writes, ${DEPTH} at a time`, batches("aio_write -q")),
    largeReads: {
      name: "2 MiB reads, 8 at a time",
      program: (opening) => convert(opening, [opening.image, nowhere(disk)]),
    },
    largeWrites: {
      name: "2 MiB writes, 8 at a time",
      program: (opening) => convert(opening, [nowhere(disk), opening.image]),
    },
  } as const satisfies Record<string, Job>;
}

function qemuIo(name: string, commands: readonly string[]): Job {
  const args = commands.flatMap((command) => ["-c", command]);
  return {
    name,
    program: (opening) => start(opening, ["/usr/bin/qemu-io", "--image-opts", opening.image], args),
  };
}

/** Copies in requests of 2 MiB, which it does not order. */
function convert(opening: Opening, [from, to]: readonly [string, string]): Program {
  const options = ["-n", "-S", "0", "-W", "-m", "8", "--image-opts", "--target-image-opts"];
  return start(opening, ["/usr/bin/qemu-img", "convert", ...options], ["--", from, to]);
}

/** Reads at once, as nothing in particular, and forgets what is written. */
function nowhere(size: number): string {
  return `driver=null-co,size=${size},read-zeroes=off`;
}

function start(
  { key, environment = [] }: Opening,
  program: readonly [string, ...string[]],
  args: readonly string[],
): Program {
  const secret = key === undefined ? [] : ["--object", "secret,id=key,file=/proc/self/fd/3"];
  return {
    argv: ["/usr/bin/env", ...environment, ...program, ...secret, ...args],
    fds: key === undefined ? [] : [key],
  };
}
