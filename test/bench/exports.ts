import { mkdirSync, writeFileSync } from "node:fs";
import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { EncryptedDisk } from "./encrypted-disk.js";
import { makeJobs } from "./io-job.js";
import { measureJobs } from "./io-rows.js";
import { LoopDisk } from "./loop-disk.js";
import type { Row } from "./row.js";
import type { Stock } from "./stock.js";
import { StorageDaemon } from "./storage-daemon.js";

const MIB = 1024 * 1024;
const SIZE = 128 * MIB;
const MOUNT = "/run/export";
const IMAGE = `${MOUNT}/volume.img`;

/** The same requests to a disk that QEMU decrypts itself, to one through an export, and to a plain one. */
export async function benchExports(stock: Stock): Promise<Row[]> {
  using device = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  using disk = await EncryptedDisk.make(stock, { kind: "block", path: device.path, format: "raw" }, SIZE);
  // an export keeps everybody else from its device
  using another = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  using exported = await EncryptedDisk.make(
    stock,
    { kind: "block", path: another.path, format: "raw" },
    SIZE,
  );
  mkdirSync(MOUNT);
  writeFileSync(IMAGE, "");
  await using daemon = await StorageDaemon.start(
    [
      "--object=secret,id=key,file=/proc/self/fd/3",
      `--blockdev=node-name=volume,${exported.native().image}`,
      `--export=type=fuse,id=export,node-name=volume,mountpoint=${IMAGE},writable=on,growable=on`,
    ],
    [exported.fd],
  );
  const direct = "file.cache.direct=on,file.aio=threads";
  const openings = {
    "native LUKS, a device in memory": disk.native(),
    "native LUKS through an export": {
      image: `driver=raw,file.driver=file,file.filename=${IMAGE},${direct}`,
    },
    plain: disk.plain(),
  };
  const jobs = Object.values(makeJobs({ single: 1000, batched: 3200, disk: SIZE }));
  const compare = await measureJobs(openings, jobs, { rounds: 5, seconds: 20 });
  await daemon.execute("quit");
  return jobs.flatMap((job) => [
    compare(job, "native LUKS, a device in memory", "plain"),
    compare(job, "native LUKS through an export", "native LUKS, a device in memory"),
  ]);
}
