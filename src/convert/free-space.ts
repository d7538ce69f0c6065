import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { PAYLOAD_OFFSET } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { formatBytes } from "../plan/bytes.js";
import type { PathVolume } from "../storage/volume.js";

interface SpaceQuestion {
  readonly source: PathVolume;
  /** What it shows is more than what it has: an overlay's base is part of it. */
  readonly isOverlay: boolean;
  readonly isEncrypted: boolean;
  /** Bytes that the guest sees. */
  readonly size: bigint;
  /** An image file that is to be made; storage that allocates what it promises has its own answer. */
  readonly target: PathVolume;
  readonly toEncrypted: boolean;
}

/** @throws VOLUME_ALLOCATE_FAILED where a new image file would not have room for all that will be written to it */
export async function requireSpace(question: SpaceQuestion): Promise<void> {
  const { target } = question;
  if (target.kind !== "file") return;
  const { bavail, bsize } = await statfs(dirname(target.path), { bigint: true });
  const [free, needed] = [bavail * bsize, await neededSpace(question)];
  if (needed <= free) return;
  throw new LuksmithError("VOLUME_ALLOCATE_FAILED", {
    what: `cannot make volume ${target.path}`,
    why: `it needs ${formatBytes(needed)}, and ${formatBytes(free)} are free there`,
    hint: "make room, or say a name elsewhere with --to; nothing was changed",
  });
}

async function neededSpace(question: SpaceQuestion): Promise<bigint> {
  const { size, target, toEncrypted } = question;
  const header = toEncrypted ? BigInt(PAYLOAD_OFFSET) : 0n;
  // zeros that are encrypted are no zeros: a raw volume is written as a whole
  if (toEncrypted && target.format === "raw") return size + header;
  return header + minimum(size, await allocated(question));
}

/** Bytes of the disk that may be other than zero; all of them where that cannot be told cheaply. */
async function allocated({ source, isOverlay, isEncrypted, size }: SpaceQuestion): Promise<bigint> {
  const isWhole = source.kind === "block" || isOverlay || (isEncrypted && source.format === "raw");
  if (isWhole) return size;
  const { blocks } = await stat(source.path, { bigint: true });
  return blocks * 512n;
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
