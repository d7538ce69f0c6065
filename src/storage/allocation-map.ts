import type { CommandRunner } from "../exec/command-runner.js";
import type { VolumeFile } from "./volume-file.js";
import { volumeUnreadable } from "./volume-error.js";

/** Bytes of the file, from `offset`. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** All that may be other than zero: none at all proves a volume empty. Compressed clusters cannot be read in place. */
export type Allocation = readonly Extent[] | "compressed";

export interface MapRequest {
  readonly format: "raw" | "qcow2";
  /** Bytes that the map must cover. */
  readonly size: number;
}

/** Maps of big, fragmented volumes take their time, which is no reason to fail. */
const TIMEOUT = 120_000;

/**
 * What the allocation map says, by `qemu-img map`: SEEK_DATA for raw, to which preallocated extents are holes, and the
 * cluster tables for qcow2. st_blocks is no proof: ZFS counts late, and ext4 keeps small files inside inodes.
 * @throws VOLUME_UNREADABLE, TOOL_TIMEOUT
 */
export async function allocationMap(
  runner: CommandRunner,
  file: VolumeFile,
  { format, size }: MapRequest,
): Promise<Allocation> {
  const { exitCode, stdout, stderr } = await runner.run({
    tool: "qemu-img",
    args: ["map", "-U", "--output=json", "-f", format, "--", "/proc/self/fd/3"],
    fds: [file.fd],
    timeout: TIMEOUT,
    // what it could not read is the volume
    answers: [1],
  });
  if (exitCode === 1) throw volumeUnreadable(file.name, stderr.trimEnd().split("\n").at(-1) ?? "");
  const entries = parseMap(stdout);
  const covered = entries?.reduce((sum, { length }) => sum + length, 0) ?? 0;
  if (entries === undefined || covered < size) {
    throw volumeUnreadable(file.name, "qemu-img gave an allocation map that does not cover it");
  }
  return allocated(entries);
}

function allocated(entries: readonly MapEntry[]): Allocation {
  const extents: Extent[] = [];
  for (const { length, zero, offset } of entries) {
    // a file of 0 bytes has one entry of 0 bytes
    if (zero || length === 0) continue;
    if (offset === undefined) return "compressed";
    extents.push({ offset, length });
  }
  return extents;
}

interface MapEntry {
  readonly length: number;
  /** Reads as zero, whether allocated or not. */
  readonly zero: boolean;
  /** Where the bytes are in the file; clusters that are compressed or not allocated have none. */
  readonly offset: number | undefined;
}

function parseMap(json: string): MapEntry[] | undefined {
  const map: unknown = JSON.parse(json);
  if (!Array.isArray(map)) return undefined;
  const entries = map.map(parseEntry);
  return entries.every((entry) => entry !== undefined) ? entries : undefined;
}

function parseEntry(entry: unknown): MapEntry | undefined {
  if (typeof entry !== "object" || entry === null) return undefined;
  const { length, zero, offset } = entry as Readonly<Record<string, unknown>>;
  if (typeof length !== "number" || typeof zero !== "boolean") return undefined;
  return { length, zero, offset: typeof offset === "number" ? offset : undefined };
}
