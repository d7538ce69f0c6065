import { claimedLuksUuid, LUKS_HEADER_BLOCK, readLuksHeader } from "../../encryption/luks-header.js";
import type { RawVolume } from "./raw-volume.js";
import type { Probe, ProbeDepth } from "../storage-backend.js";
import { isZero } from "../zero.js";

/**
 * Bytes at the start that are read rather than taken for allocated: QEMU allocates the first block of every raw image
 * that it creates, however large the file system's blocks are.
 */
const HEAD = 1024 * 1024;

/** What a raw volume holds. @throws VOLUME_UNREADABLE, TOOL_TIMEOUT: it proves nothing */
export async function probeRaw(volume: RawVolume, depth: ProbeDepth): Promise<Probe> {
  const start = await volume.read(0, LUKS_HEADER_BLOCK);
  const probe = await probeFrom(start, volume, depth);
  if (probe.kind === "luks" || depth === "header") return probe;
  // another process may have formatted it while the rest was looked at
  const now = await volume.read(0, LUKS_HEADER_BLOCK);
  return now.equals(start) ? probe : probeFrom(now, volume, depth);
}

async function probeFrom(start: Buffer, volume: RawVolume, depth: ProbeDepth): Promise<Probe> {
  const luks = readLuksHeader(start);
  switch (luks.kind) {
    case "luks":
      if (luks.header.payloadOffset < volume.size) return luks;
      return badLuks("the volume ends before the payload of its LUKS header", start);
    case "bad":
      return badLuks(luks.reason, start);
    case "none":
      return isZero(start) ? probeRest(volume, depth) : data(volume, depth);
  }
}

function badLuks(reason: string, start: Buffer): Probe {
  return { kind: "bad-luks", reason, claimedUuid: claimedLuksUuid(start) };
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
