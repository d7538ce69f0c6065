import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  type LuksHeaderAnswer,
  luksHeaderLength,
  readLuksHeader,
} from "../../encryption/luks-header.js";
import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import type { RawVolume } from "./raw-volume.js";
import type { Probe, ProbeDepth } from "../storage-backend.js";
import { isZero } from "../zero.js";

/**
 * Bytes at the start that are read rather than taken for allocated: QEMU allocates the first block of every raw image
 * that it creates, however large the file system's blocks are.
 */
const HEAD = 1024 * 1024;

/** How far to look, and which formats the storage can carry: a LUKS header of another is a bad one. */
export interface RawProbeRequest {
  readonly depth: ProbeDepth;
  readonly formats: readonly EncryptionFormat[];
}

/** What a raw volume holds. @throws VOLUME_UNREADABLE, TOOL_TIMEOUT: it proves nothing */
export async function probeRaw(volume: RawVolume, request: RawProbeRequest): Promise<Probe> {
  const start = await volume.read(0, LUKS_HEADER_BLOCK);
  const probe = await probeFrom(start, volume, request);
  if (probe.kind === "luks" || request.depth === "header") return probe;
  // another process may have formatted it while the rest was looked at
  const now = await volume.read(0, LUKS_HEADER_BLOCK);
  return now.equals(start) ? probe : probeFrom(now, volume, request);
}

/**
 * The LUKS header that a raw volume begins with. @param start its first LUKS_HEADER_BLOCK bytes
 * @throws VOLUME_UNREADABLE
 */
export async function readRawHeader(
  volume: RawVolume,
  start: Buffer,
  formats: readonly EncryptionFormat[],
): Promise<LuksHeaderAnswer> {
  const length = formats.includes("luksv2") ? luksHeaderLength(start) : LUKS_HEADER_BLOCK;
  const bytes = length === LUKS_HEADER_BLOCK ? start : await volume.read(0, length);
  const luks = readLuksHeader(bytes, formats);
  if (luks.kind !== "luks" || luks.header.payloadOffset < volume.size) return luks;
  return { kind: "bad", reason: "the volume ends before the payload of its LUKS header" };
}

async function probeFrom(
  start: Buffer,
  volume: RawVolume,
  { depth, formats }: RawProbeRequest,
): Promise<Probe> {
  const luks = await readRawHeader(volume, start, formats);
  switch (luks.kind) {
    case "luks":
      return luks;
    case "bad":
      return { kind: "bad-luks", reason: luks.reason, claimedUuid: claimedLuksUuid(start) };
    case "none":
      return isZero(start) ? probeRest(volume, depth) : data(volume, depth);
  }
}

/** Of a volume whose first block is zero. */
async function probeRest(volume: RawVolume, depth: ProbeDepth): Promise<Probe> {
  if (depth === "header") return { kind: "allocated" };
  const allocation = await volume.allocation();
  const isSmall =
    allocation !== "compressed" && allocation.every(({ offset, length }) => offset + length <= HEAD);
  if (depth === "read" || isSmall) {
    if (!(await volume.readsAsZero(allocation, 0))) return data(volume, depth);
    const signature = await volume.obstacle();
    return signature === undefined ? { kind: "empty" } : { kind: "data", signature };
  }
  const signature = await volume.signature();
  return signature === undefined ? { kind: "allocated" } : { kind: "data", signature };
}

async function data(volume: RawVolume, depth: ProbeDepth): Promise<Probe> {
  return { kind: "data", signature: depth === "header" ? undefined : await volume.signature() };
}
