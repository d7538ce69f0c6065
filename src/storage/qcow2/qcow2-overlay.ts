import type { CommandRunner } from "../../exec/command-runner.js";
import { allocationMap, type Extent } from "../allocation-map.js";
import type { Qcow2Header } from "./qcow2-header.js";
import { volumeUnreadable } from "../volume-error.js";
import type { VolumeFile } from "../volume-file.js";
import { isZero, readsAsZero } from "../zero.js";

const CHUNK = 1024 * 1024;
/** QEMU's limits for these tables. */
const LARGEST_L1_TABLE = 32 * CHUNK;
const LARGEST_REFCOUNT_TABLE = 8 * CHUNK;
/** Of an entry of the refcount table: where the refcount block is. */
const BLOCK_OFFSET = 0xffff_ffff_ffff_fe00n;

/**
 * Whether a qcow2 overlay itself holds anything. Its base is neither opened nor looked for: all that counts is the
 * overlay's own file. It is empty if its L1 table leads nowhere (a cluster of its own, be it of zeros, hides what the
 * base has), and the file is zero but for the header, the L1 table and the refcounts: a table that was lost would hide
 * clusters, and no refcount is trusted.
 * @throws VOLUME_UNREADABLE for tables that no whole image has
 */
export async function probeOverlay(
  runner: CommandRunner,
  file: VolumeFile,
  image: Qcow2Header,
  depth: "allocation-map" | "read",
): Promise<"empty" | "allocated" | "data"> {
  if (!(await isZeroIn(file, l1TableOf(file, image)))) return "data";
  const tables = await tablesOf(file, image);
  const allocation = await allocationMap(runner, file, { format: "raw", size: file.size });
  // a raw file has no compressed clusters
  if (allocation === "compressed") return "allocated";
  const others = without(allocation, tables);
  if (others.length === 0) return "empty";
  if (depth === "allocation-map") return "allocated";
  return (await readsAsZero(file, others)) ? "empty" : "data";
}

function l1TableOf(file: VolumeFile, { l1Table, size, clusterSize, extendedL2 }: Qcow2Header): Extent {
  const entriesOfL2 = clusterSize / (extendedL2 ? 16 : 8);
  const needed = Math.ceil(size / (clusterSize * entriesOfL2));
  if (l1Table.entries < needed) throw volumeUnreadable(file.name, "its L1 table is too small for its size");
  return tableAt(file, "L1 table", {
    offset: l1Table.offset,
    length: l1Table.entries * 8,
    ...{ limit: LARGEST_L1_TABLE, alignment: clusterSize },
  });
}

/** Every cluster that may hold something in an image without data, in the order of the file. */
async function tablesOf(file: VolumeFile, image: Qcow2Header): Promise<Extent[]> {
  const { clusterSize, refcountTable } = image;
  const table = tableAt(file, "refcount table", {
    offset: refcountTable.offset,
    length: refcountTable.clusters * clusterSize,
    ...{ limit: LARGEST_REFCOUNT_TABLE, alignment: clusterSize },
  });
  const entries = await file.read(table.offset, table.length);
  const blocks: Extent[] = [];
  for (let at = 0; at < entries.length; at += 8) {
    const offset = Number(entries.readBigUInt64BE(at) & BLOCK_OFFSET);
    if (offset === 0) continue;
    blocks.push(
      tableAt(file, "refcount block", {
        offset,
        length: clusterSize,
        ...{ limit: clusterSize, alignment: clusterSize },
      }),
    );
  }
  return [{ offset: 0, length: clusterSize }, table, l1TableOf(file, image), ...blocks]
    .map(({ offset, length }) => ({ offset, length: Math.ceil(length / clusterSize) * clusterSize }))
    .sort((a, b) => a.offset - b.offset);
}

interface TablePlace extends Extent {
  readonly limit: number;
  readonly alignment: number;
}

/** The place of a table that the header names, if it can be the place of one. @throws VOLUME_UNREADABLE */
function tableAt(
  { size, name }: VolumeFile,
  table: string,
  { offset, length, limit, alignment }: TablePlace,
): Extent {
  const isPossible = offset % alignment === 0 && length <= limit && offset + length <= size;
  if (!isPossible || (offset === 0 && length > 0)) {
    throw volumeUnreadable(name, `its qcow2 header names an impossible place of a ${table}`);
  }
  return { offset, length };
}

async function isZeroIn(file: VolumeFile, { offset, length }: Extent): Promise<boolean> {
  for (let at = 0; at < length; at += CHUNK) {
    const bytes = await file.read(offset + at, Math.min(CHUNK, length - at));
    if (!isZero(bytes)) return false;
  }
  return true;
}

/** What of `extents` is in none of `others`; both are in the order of the file. */
function without(extents: readonly Extent[], others: readonly Extent[]): Extent[] {
  const rest: Extent[] = [];
  let next = 0;
  for (const { offset, length } of extents) {
    const end = offset + length;
    let at = offset;
    for (let other = others[next]; other !== undefined && at < end; other = others[next]) {
      if (other.offset > at) rest.push({ offset: at, length: Math.min(other.offset, end) - at });
      const otherEnd = other.offset + other.length;
      at = Math.max(at, Math.min(otherEnd, end));
      if (otherEnd > end) break;
      next += 1;
    }
    if (at < end) rest.push({ offset: at, length: end - at });
  }
  return rest;
}
