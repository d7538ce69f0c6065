import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { EncryptedDisk } from "./encrypted-disk.js";
import { makeJobs } from "./io-job.js";
import { measureJobs } from "./io-rows.js";
import { LoopDisk } from "./loop-disk.js";
import { type Findings, type Row } from "./row.js";
import type { Stock, StockVolume } from "./stock.js";

const MIB = 1024 * 1024;
const SIZE = 128 * MIB;

/** What QEMU's encryption costs a guest's reads and writes, on a device that takes no time and on this machine's. */
export async function benchDiskIo(stock: Stock): Promise<Findings> {
  using memory = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  const device = { kind: "block", path: memory.path, format: "raw" } as const;
  const file = stock.volume("raw", { size: PAYLOAD_OFFSET + SIZE });
  return {
    rows: [
      ...(await compareOn(stock, device, "a device in memory", { single: 2000, batched: 6400 })),
      ...(await compareOn(stock, file, "a file on this disk", { single: 500, batched: 6400 })),
    ],
    memory: [],
  };
}

async function compareOn(
  stock: Stock,
  volume: StockVolume,
  where: string,
  requests: { readonly single: number; readonly batched: number },
): Promise<Row[]> {
  using disk = await EncryptedDisk.make(stock, volume, SIZE);
  const all = Object.values(makeJobs({ ...requests, disk: SIZE }));
  const openings = { [`native LUKS, ${where}`]: disk.native(), plain: disk.plain() };
  const compare = await measureJobs(openings, all, { rounds: 5, seconds: 8 });
  return all.map((job) => compare(job, `native LUKS, ${where}`, "plain"));
}
