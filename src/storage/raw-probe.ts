import { claimedLuksUuid, LUKS_HEADER_BLOCK, readLuksHeader } from "../encryption/luks-header.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { allocationMap } from "./allocation-map.js";
import { signatureOf } from "./signature.js";
import type { Probe, ProbeDepth } from "./storage-backend.js";
import type { VolumeFile } from "./volume-file.js";
import { isZero, readsAsZero } from "./zero.js";

/**
 * Bytes at the start that are read rather than taken for allocated: QEMU allocates the first block of every raw image
 * that it creates, however large the file system's blocks are.
 */
const HEAD = 1024 * 1024;

/** What a raw image file holds. @throws VOLUME_UNREADABLE, TOOL_TIMEOUT: it proves nothing */
export async function probeRaw(runner: CommandRunner, file: VolumeFile, depth: ProbeDepth): Promise<Probe> {
  const start = await file.read(0, LUKS_HEADER_BLOCK);
  const probe = await probeFrom(start, runner, file, depth);
  if (probe.kind === "luks" || depth === "header") return probe;
  // another process may have formatted it while the rest was looked at
  const now = await file.read(0, LUKS_HEADER_BLOCK);
  return now.equals(start) ? probe : probeFrom(now, runner, file, depth);
}

async function probeFrom(
  start: Buffer,
  runner: CommandRunner,
  file: VolumeFile,
  depth: ProbeDepth,
): Promise<Probe> {
  const luks = readLuksHeader(start);
  switch (luks.kind) {
    case "luks":
      if (luks.header.payloadOffset < file.size) return luks;
      return badLuks("the volume ends before the payload of its LUKS header", start);
    case "bad":
      return badLuks(luks.reason, start);
    case "none":
      return isZero(start) ? probeRest(runner, file, depth) : data(runner, file, depth);
  }
}

function badLuks(reason: string, start: Buffer): Probe {
  return { kind: "bad-luks", reason, claimedUuid: claimedLuksUuid(start) };
}

/** Of a volume whose first block is zero. */
async function probeRest(runner: CommandRunner, file: VolumeFile, depth: ProbeDepth): Promise<Probe> {
  if (depth === "header") return { kind: "allocated" };
  const allocation = await allocationMap(runner, file, { format: "raw", size: file.size });
  const isSmall =
    allocation !== "compressed" && allocation.every(({ offset, length }) => offset + length <= HEAD);
  if (depth === "read" || isSmall) {
    return (await readsAsZero(file, allocation)) ? { kind: "empty" } : data(runner, file, depth);
  }
  const signature = await signatureOf(runner, file);
  return signature === undefined ? { kind: "allocated" } : { kind: "data", signature };
}

async function data(runner: CommandRunner, file: VolumeFile, depth: ProbeDepth): Promise<Probe> {
  return { kind: "data", signature: depth === "header" ? undefined : await signatureOf(runner, file) };
}
