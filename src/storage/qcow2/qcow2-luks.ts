import type { LuksImage } from "../../encryption/luks-image.js";
import {
  BACKING_FILE_OFFSET,
  BACKING_FILE_SIZE_OFFSET,
  CRYPT_LUKS,
  CRYPT_METHOD_OFFSET,
  EXTENSION_BACKING_FORMAT,
  EXTENSION_ENCRYPTION,
  type Qcow2Backing,
  type Qcow2Header,
} from "./qcow2-header.js";

/**
 * A new, empty qcow2 image with a LUKS container in it: clusters behind the image's end, counted in the refcount
 * blocks, and the header extension that points at them (QEMU's docs/interop/qcow2, "Full disk encryption header
 * pointer" and "Host cluster management"). The same as `qemu-img create -o encrypt.format=luks` makes, but under our
 * UUID, and without qemu-img's PBKDF2 benchmark: that costs seconds, and QEMU 7.2.22 gives it up now and then ("Unable
 * to get accurate CPU usage"). The caller has QEMU check the result.
 * @param image the whole file, which is no overlay. Pure.
 * @param backing makes it one: put in byte by byte, so that no tool reads the name or opens what it means
 * @returns undefined where the refcount table has no room, as with clusters of 512 bytes and refcounts of 64 bits, or
 *   the header's cluster none for the backing file's name
 */
export function withLuksContainer(
  image: Buffer,
  header: Qcow2Header,
  luks: LuksImage,
  backing: Qcow2Backing | undefined,
): Buffer | undefined {
  const { clusterSize } = header;
  const start = Math.ceil(image.length / clusterSize);
  const container = { offset: start * clusterSize, length: luks.header.payloadOffset };
  const grown = withClusters(image, header, start, start + Math.ceil(container.length / clusterSize));
  if (grown === undefined) return undefined;
  if (!completeHeader(grown, header, container, backing)) return undefined;
  for (const { offset, bytes } of luks.pieces) bytes.copy(grown, container.offset + offset);
  return grown;
}

/** The image grown by the clusters from `start` to `end`, and by the refcount blocks that these need. */
function withClusters(image: Buffer, header: Qcow2Header, start: number, end: number): Buffer | undefined {
  const { clusterSize, refcountBits, refcountTable } = header;
  const perBlock = (clusterSize * 8) / refcountBits;
  const entries = (refcountTable.clusters * clusterSize) / 8;
  const entryAt = (cluster: number) => refcountTable.offset + Math.floor(cluster / perBlock) * 8;

  // a new refcount block is a cluster to be counted itself, so `last` moves while it is walked to
  const newBlocks = new Map<number, number>();
  let last = end;
  for (let cluster = start; cluster < last; cluster++) {
    const entry = entryAt(cluster);
    if (Math.floor(cluster / perBlock) >= entries) return undefined;
    if (image.readBigUInt64BE(entry) === 0n && !newBlocks.has(entry)) newBlocks.set(entry, last++);
  }
  const grown = Buffer.alloc(last * clusterSize);
  image.copy(grown);
  for (const [entry, cluster] of newBlocks) grown.writeBigUInt64BE(BigInt(cluster * clusterSize), entry);
  for (let cluster = start; cluster < last; cluster++) {
    const block = Number(grown.readBigUInt64BE(entryAt(cluster)));
    setToOne(grown.subarray(block, block + clusterSize), cluster % perBlock, refcountBits);
  }
  return grown;
}

/** Entries smaller than a byte fill it from the lowest bit on; larger ones are big-endian. */
function setToOne(refcounts: Buffer, index: number, bits: number): void {
  const at = bits < 8 ? Math.floor((index * bits) / 8) : ((index + 1) * bits) / 8 - 1;
  refcounts[at] = (refcounts[at] ?? 0) | (bits < 8 ? 1 << ((index * bits) % 8) : 1);
}

/** Puts what is new into the header's cluster. @returns whether it has room for it */
function completeHeader(
  image: Buffer,
  { extensions: { offset, end }, clusterSize }: Qcow2Header,
  container: { offset: number; length: number },
  backing: Qcow2Backing | undefined,
): boolean {
  const pointer = Buffer.alloc(16);
  pointer.writeBigUInt64BE(BigInt(container.offset), 0);
  pointer.writeBigUInt64BE(BigInt(container.length), 8);
  const needed = [
    extension(EXTENSION_ENCRYPTION, pointer),
    ...(backing?.format === undefined ? [] : [extension(EXTENSION_BACKING_FORMAT, backing.format)]),
  ];
  // a new image has only the names of feature bits, for messages: QEMU too leaves them out of a cluster without room
  const others = Buffer.from(image.subarray(offset, end));
  const last = [Buffer.alloc(8), backing?.name ?? Buffer.alloc(0)];
  const area = image.subarray(offset, clusterSize);
  const content = [
    [...needed, others, ...last],
    [...needed, ...last],
  ]
    .map((parts) => Buffer.concat(parts))
    .find(({ length }) => length <= area.length);
  if (content === undefined) return false;
  area.fill(0);
  content.copy(area);
  image.writeUInt32BE(CRYPT_LUKS, CRYPT_METHOD_OFFSET);
  if (backing !== undefined) {
    const nameOffset = offset + content.length - backing.name.length;
    image.writeBigUInt64BE(BigInt(nameOffset), BACKING_FILE_OFFSET);
    image.writeUInt32BE(backing.name.length, BACKING_FILE_SIZE_OFFSET);
  }
  return true;
}

/** Type, length, and the data, which is padded to a multiple of 8 bytes. */
function extension(type: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc(8 + Math.ceil(data.length / 8) * 8);
  bytes.writeUInt32BE(type, 0);
  bytes.writeUInt32BE(data.length, 4);
  data.copy(bytes, 8);
  return bytes;
}
