import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { interleave } from "./compare.js";
import { EncryptedDisk } from "./encrypted-disk.js";
import { IN_MEMORY, LoopDisk } from "./loop-disk.js";
import { StorageDaemon } from "./storage-daemon.js";
import { type Row, row } from "./row.js";
import type { Stock } from "./stock.js";

const MIB = 1024 * 1024;
const SIZE = 128 * MIB;

/** Two encrypted disks of one QEMU that are read at the same time: an iothread for each, or one for both. */
export async function benchIothreads(stock: Stock): Promise<Row> {
  using first = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  using second = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  using firstDisk = await EncryptedDisk.make(stock, { kind: "block", path: first.path, format: "raw" }, SIZE);
  using secondDisk = await EncryptedDisk.make(
    stock,
    { kind: "block", path: second.path, format: "raw" },
    SIZE,
  );
  const disks = [firstDisk, secondDisk];
  const reading = (iothreads: readonly string[]) => ({ run: () => readAtOnce(disks, iothreads) });
  const actions = { each: reading(["thread0", "thread1"]), both: reading(["thread0", "thread0"]) };
  const samples = await interleave(actions, { rounds: 5, seconds: 6 }, ({ run }) => run());
  return row(
    { name: "reading 2 native LUKS disks at once: an iothread for each", milliseconds: samples.each },
    { name: "one iothread for both", milliseconds: samples.both },
  );
}

/** Milliseconds until QEMU's storage daemon, which knows iothreads without a guest, has read all of them. */
async function readAtOnce(disks: readonly EncryptedDisk[], iothreads: readonly string[]): Promise<number> {
  await using daemon = await StorageDaemon.start(
    [
      ...new Set(iothreads.map((name) => `--object=iothread,id=${name}`)),
      // nobody uses the exports; they are what keeps a disk with its iothread
      `--nbd-server=addr.type=unix,addr.path=${join(IN_MEMORY, randomUUID())}`,
      ...disks.flatMap((disk, index) => [
        `--object=secret,id=key${index},file=/proc/self/fd/${3 + index}`,
        `--blockdev=node-name=disk${index},${disk.native(undefined, `key${index}`).image}`,
        `--export=type=nbd,id=export${index},node-name=disk${index},iothread=${iothreads[index]},fixed-iothread=on`,
        `--blockdev=node-name=nowhere${index},driver=null-co,size=${disk.size}`,
      ]),
    ],
    disks.map(({ fd }) => fd),
  );
  const started = performance.now();
  await Promise.all(disks.map((_, index) => daemon.mirror(`disk${index}`, `nowhere${index}`)));
  return performance.now() - started;
}
