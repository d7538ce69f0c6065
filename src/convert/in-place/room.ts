import { stat, statfs } from "node:fs/promises";
import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { formatBytes } from "../../plan/bytes.js";
import { findLv } from "../../storage/lvm/lvm-lookup.js";
import { reportGroup } from "../../storage/lvm/lvm-group.js";
import { roundUp } from "../../storage/sectors.js";
import type { StorageBackend } from "../../storage/storage-backend.js";
import type { PathVolume } from "../../storage/volume.js";
import { cannot, type Subject } from "./refusals.js";

/** What a volume takes beyond what it has, so that it can be encrypted, and what there is. */
export interface Room {
  readonly needed: bigint;
  readonly free: bigint;
}

/**
 * A file's holes are written as well: what is encrypted has none.
 * @throws VOLUME_GROW_FAILED, before anything is changed
 */
export async function requireRoom(
  subject: Subject,
  { volume, backend, payload }: Sized,
  runner: CommandRunner,
): Promise<Room> {
  const room =
    volume.kind === "file"
      ? await roomOfFile(volume.path, payload)
      : await roomOfDevice({ volume, backend, payload }, runner);
  if (room === undefined)
    throw new LuksmithError("VOLUME_GROW_FAILED", {
      what: `${cannot(subject)}: a LUKS header takes ${formatBytes(BigInt(PAYLOAD_OFFSET))} that ${volume.path} does not have`,
      why: `the guest's disk is all of it, ${payload} bytes, and Luksmith cannot enlarge a block device`,
      hint: `convert it into another volume: leave --in-place out, and say --to`,
    });
  if (room.needed <= room.free) return room;
  throw new LuksmithError("VOLUME_GROW_FAILED", {
    what: `${cannot(subject)}: ${volume.path} would take ${formatBytes(room.needed)} more`,
    why: `${formatBytes(room.free)} are free there`,
    hint: "make room; nothing was changed",
  });
}

interface Sized {
  readonly volume: PathVolume;
  readonly backend: StorageBackend;
  /** Bytes of the guest's disk. */
  readonly payload: number;
}

async function roomOfFile(path: string, payload: number): Promise<Room> {
  const [{ blocks }, { bavail, bsize }] = await Promise.all([
    stat(path, { bigint: true }),
    statfs(path, { bigint: true }),
  ]);
  const needed = BigInt(payload + PAYLOAD_OFFSET) - blocks * 512n;
  return { needed: needed > 0n ? needed : 0n, free: bavail * bsize };
}

/** Undefined for a device that cannot grow. */
async function roomOfDevice(
  { volume, backend, payload }: Sized,
  runner: CommandRunner,
): Promise<Room | undefined> {
  const found = await findLv(runner, volume.path);
  const extent = await backend.extent?.(volume);
  if (found === undefined || found.kind === "refused" || extent === undefined) return undefined;
  const { free } = await reportGroup(runner, found.lv);
  return { needed: roundUp(BigInt(payload + PAYLOAD_OFFSET), extent) - BigInt(payload), free };
}
