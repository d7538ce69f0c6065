import { LUKS_HEADER_BLOCK, type LuksHeader } from "../../src/encryption/luks-header.js";
import { Secret } from "../../src/secret/secret.js";
import { LoopDisk, mountExt4 } from "./loop-disk.js";
import { runProgram } from "./program.js";
import { byteRow, type Findings, type Row } from "./row.js";
import type { ImageFormat, Stock, StockVolume } from "./stock.js";

const ROUNDS = 3;
const MIB = 1024 * 1024;

/** What a new disk of 64 MiB makes its device write, against the bytes that its header consists of. */
export async function benchHeaderWrites(stock: Stock): Promise<Findings> {
  using passphrase = Secret.randomPassphrase();
  const format = (volume: StockVolume) => stock.header(volume, passphrase);
  return {
    rows: [
      await onDevice(format),
      await onFileSystem("raw", stock, format),
      await onFileSystem("qcow2", stock, format),
    ],
    memory: [],
  };
}

type Format = (volume: StockVolume) => Promise<LuksHeader>;

async function onDevice(format: Format): Promise<Row> {
  const rounds: Written[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    using disk = new LoopDisk(64 * MIB);
    const volume = { kind: "block", path: disk.path, format: "raw" } as const;
    rounds.push(await measureWritten(disk, ["/usr/sbin/blockdev", "--flushbufs", disk.path], volume, format));
  }
  return rowOf("bytes that the device writes, block device", rounds);
}

/** With what the file system writes for it: inodes, allocation, journal. */
async function onFileSystem(image: ImageFormat, stock: Stock, format: Format): Promise<Row> {
  const rounds: Written[] = [];
  using disk = new LoopDisk(512 * MIB);
  using directory = mountExt4(disk);
  for (let round = 0; round < ROUNDS; round++) {
    const volume = stock.volume(image, { directory: directory.path });
    rounds.push(
      await measureWritten(disk, ["/usr/bin/sync", "--file-system", directory.path], volume, format),
    );
  }
  return rowOf(`bytes that the device writes, ${image} on ext4`, rounds);
}

interface Written {
  readonly all: number;
  readonly header: number;
}

/** @param settle has the kernel write what it holds back */
async function measureWritten(
  disk: LoopDisk,
  settle: readonly [string, ...string[]],
  volume: StockVolume,
  format: Format,
): Promise<Written> {
  runProgram({ argv: settle });
  const before = disk.written;
  const header = await format(volume);
  runProgram({ argv: settle });
  return { all: disk.written - before, header: headerBytes(header) };
}

/** The header block, and the key material of the one keyslot that is in use. */
function headerBytes({ keySize, keyslots }: LuksHeader): number {
  return keyslots
    .filter(({ active }) => active)
    .reduce((sum, { stripes }) => sum + (keySize / 8) * stripes, LUKS_HEADER_BLOCK);
}

function rowOf(name: string, rounds: readonly Written[]): Row {
  return byteRow(
    [name, rounds.map(({ all }) => all)],
    ["bytes of a LUKS header", rounds.map(({ header }) => header)],
  );
}
