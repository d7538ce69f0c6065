import { randomUUID } from "node:crypto";
import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { EncryptedDisk } from "./encrypted-disk.js";
import { makeJobs, type Opening } from "./io-job.js";
import { measureJobs } from "./io-rows.js";
import { LoopDisk } from "./loop-disk.js";
import { runProgram } from "./program.js";
import { type Findings } from "./row.js";
import type { Stock } from "./stock.js";

const MIB = 1024 * 1024;
const SIZE = 64 * MIB;

/** User-Mode Linux has no driver for the processor's AES instructions, so QEMU's libraries must do without them too. */
const WITHOUT_AES_INSTRUCTIONS = ["NETTLE_FAT_OVERRIDE=vendor:other", "GNUTLS_CPUID_OVERRIDE=0x1"];

/** QEMU's encryption against dm-crypt, on the same LUKS volume, in User-Mode Linux. */
export async function benchDmCrypt(stock: Stock): Promise<Findings> {
  using memory = new LoopDisk(PAYLOAD_OFFSET + SIZE);
  using disk = await EncryptedDisk.make(stock, { kind: "block", path: memory.path, format: "raw" }, SIZE);
  using mapping = openMapping(memory.path, disk.fd);
  const all = Object.values(makeJobs({ single: 1000, batched: 2000, disk: SIZE }));
  const openings = {
    plain: disk.plain(),
    "native LUKS without AES instructions": { ...disk.native(), environment: WITHOUT_AES_INSTRUCTIONS },
    "dm-crypt without AES instructions": mapping.opening,
  };
  const compare = await measureJobs(openings, all, { rounds: 5, seconds: 15 }, "hidden");
  const native = "native LUKS without AES instructions";
  const dmCrypt = "dm-crypt without AES instructions";
  return {
    rows: [
      ...all.map((job) => compare(job, native, dmCrypt)),
      ...all.map((job) => compare(job, dmCrypt, "plain")),
    ],
    memory: [],
  };
}

function openMapping(device: string, key: number): Disposable & { readonly opening: Opening } {
  const name = `luksmith-${randomUUID()}`;
  const options = ["--type", "luks1", "--key-file", "/proc/self/fd/3"];
  runProgram({ argv: ["/usr/sbin/cryptsetup", "open", ...options, "--", device, name], fds: [key] });
  const file = `file.driver=host_device,file.filename=/dev/mapper/${name}`;
  return {
    opening: { image: `driver=raw,${file},file.aio=native,file.cache.direct=on` },
    [Symbol.dispose]: () => void runProgram({ argv: ["/usr/sbin/cryptsetup", "close", "--", name] }),
  };
}
