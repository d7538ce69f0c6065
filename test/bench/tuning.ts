import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { type Asking, EncryptedDisk } from "./encrypted-disk.js";
import { benchIothreads } from "./iothreads.js";
import { makeJobs, type Opening } from "./io-job.js";
import { measureJobs } from "./io-rows.js";
import { LoopDisk, mountExt4 } from "./loop-disk.js";
import { runProgram } from "./program.js";
import { type Findings, type Row } from "./row.js";
import type { Stock } from "./stock.js";

const MIB = 1024 * 1024;
const SIZE = 128 * MIB;
const EFFORT = { rounds: 5, seconds: 6 };
const JOBS = makeJobs({ single: 0, batched: 6400, disk: SIZE });

/** Which of QEMU's settings suit an encrypted disk, on devices in memory. */
export async function benchTuning(stock: Stock): Promise<Findings> {
  return {
    rows: [...(await benchAsking(stock)), ...(await benchFormats(stock)), await benchIothreads(stock)],
    memory: [],
  };
}

const USUAL = "cache='none' io='native'";
const OTHERS: Readonly<Record<string, Asking>> = {
  "cache='none' io='io_uring'": { aio: "io_uring", direct: "on" },
  "cache='none' io='threads'": { aio: "threads", direct: "on" },
  "cache='writeback' io='io_uring'": { aio: "io_uring", direct: "off" },
  "cache='writeback' io='threads'": { aio: "threads", direct: "off" },
};

async function benchAsking(stock: Stock): Promise<Row[]> {
  using memory = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  using disk = await EncryptedDisk.make(stock, { kind: "block", path: memory.path, format: "raw" }, SIZE);
  const others = Object.entries(OTHERS).map(([name, asking]) => [name, disk.native(asking)] as const);
  const openings: Record<string, Opening> = { [USUAL]: disk.native(), ...Object.fromEntries(others) };
  const jobs = [JOBS.batchedReads, JOBS.largeReads];
  const compare = await measureJobs(openings, jobs, EFFORT);
  return jobs.flatMap((job) => others.map(([name]) => compare(job, name, USUAL)));
}

/** QEMU encrypts a raw volume in the thread that does its I/O, and a qcow2 image in threads of their own. */
async function benchFormats(stock: Stock): Promise<Row[]> {
  using memory = new LoopDisk(4 * SIZE);
  using directory = mountExt4(memory);
  const raw = stock.volume("raw", { directory: directory.path, size: PAYLOAD_OFFSET + SIZE });
  const qcow2 = stock.volume("qcow2", { directory: directory.path, size: SIZE });
  using rawDisk = await EncryptedDisk.make(stock, raw, SIZE);
  using qcow2Disk = await EncryptedDisk.make(stock, qcow2, SIZE);
  const openings = { "qcow2 with LUKS": qcow2Disk.native(), "raw with LUKS": rawDisk.native() };
  // its clusters are allocated before anything is measured, as the blocks of the other are
  runProgram(JOBS.largeWrites.program(openings["qcow2 with LUKS"]));
  const jobs = [JOBS.largeReads, JOBS.largeWrites];
  const compare = await measureJobs(openings, jobs, EFFORT);
  return jobs.map((job) => compare(job, "qcow2 with LUKS", "raw with LUKS"));
}
