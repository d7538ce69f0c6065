import type { LuksImage } from "../encryption/luks-formatter.js";
import { CRYPT_LUKS, CRYPT_METHOD_OFFSET, EXTENSION_ENCRYPTION, type Qcow2Header } from "./qcow2-header.js";
import { isZero } from "./zero.js";

/** Type, length, and two numbers of 64 bits. */
const EXTENSION_LENGTH = 24;

/**
 * A new, empty qcow2 image with a LUKS container in it: clusters behind the image's end, counted in the refcount
 * blocks, and the header extension that points at them (QEMU's docs/interop/qcow2, "Full disk encryption header
 * pointer" and "Host cluster management"). The same as `qemu-img create -o encrypt.format=luks` makes, but under our
 * UUID, and without qemu-img's PBKDF2 benchmark: that costs seconds, and QEMU 7.2.22 gives it up now and then ("Unable
 * to get accurate CPU usage"). The caller has QEMU check the result.
 * @param image the whole file. Pure.
 * @returns undefined where the refcount table has no room, as with clusters of 512 bytes and refcounts of 64 bits
 */
export function withLuksContainer(image: Buffer, header: Qcow2Header, luks: LuksImage): Buffer | undefined {
  const { clusterSize } = header;
  const start = Math.ceil(image.length / clusterSize);
  const container = { offset: start * clusterSize, length: luks.header.payloadOffset };
  const grown = withClusters(image, header, start, start + Math.ceil(container.length / clusterSize));
  if (grown === undefined) return undefined;
  pointTo(grown, header, container);
  luks.block.copy(grown, container.offset);
  luks.keyMaterial.bytes.copy(grown, container.offset + luks.keyMaterial.offset);
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

function pointTo(image: Buffer, header: Qcow2Header, container: { offset: number; length: number }): void {
  image.writeUInt32BE(CRYPT_LUKS, CRYPT_METHOD_OFFSET);
  const extensions = image.subarray(header.extensionsOffset, header.clusterSize);
  const others = Buffer.from(extensions);
  extensions.fill(0);
  extensions.writeUInt32BE(EXTENSION_ENCRYPTION, 0);
  extensions.writeUInt32BE(16, 4);
  extensions.writeBigUInt64BE(BigInt(container.offset), 8);
  extensions.writeBigUInt64BE(BigInt(container.length), 16);
  // a new image has only the names of feature bits, for messages: QEMU too leaves them out of a cluster without room
  const room = extensions.length - EXTENSION_LENGTH;
  if (isZero(others.subarray(room))) others.copy(extensions, EXTENSION_LENGTH, 0, room);
}
