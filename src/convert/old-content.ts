import { createHash } from "node:crypto";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import type { StorageRegistry } from "../storage/index.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import { notedVolume } from "./note-converted.js";
import type { SourceVolume } from "./source-volume.js";
import { outlivesRestart } from "./volume-identity.js";

/** Bytes of each part that is looked at. */
const PART = 4 * 1024 * 1024;

/** What is noted of the volume that is copied. */
export async function notedOld(
  { volume, key }: SourceVolume,
  state: ConversionNote["state"],
  runner: CommandRunner,
): Promise<ConversionNote["old"]> {
  const noted = await notedVolume(volume, key?.record.uuid, runner);
  const hasHeader = key !== undefined && key.record.encryption.format !== "plain";
  return state === "copying" || hasHeader ? noted : { ...noted, digest: await digestOf(volume) };
}

/**
 * A digest of a volume's first, middle and last bytes, by which the volume that was copied is known again. Nobody writes
 * to that one any more. @throws VOLUME_UNREADABLE, VOLUME_NOT_FOUND
 */
async function digestOf({ kind, path }: Pick<PathVolume, "kind" | "path">): Promise<string> {
  await using file = await VolumeFile.open(path, "read", kind === "block" ? "block device" : "regular file");
  const hash = createHash("sha256").update(`${file.size}\n`);
  const last = Math.max(0, file.size - PART);
  for (const at of new Set([0, Math.floor(last / 2), last])) hash.update(await file.read(at, PART));
  return `sha256:${hash.digest("hex")}`;
}

/**
 * The volume still holds what was copied. One that an earlier call has begun to overwrite does not, and need not; a file
 * or a logical volume of which nothing was noted is known well enough. @throws VOLUME_NOT_EMPTY, VOLUME_UNREADABLE
 */
export async function requireOldContent(
  { old }: ConversionNote,
  { storage }: { readonly storage: StorageRegistry },
): Promise<void> {
  if (old.wiping) return;
  const problem = await problemOf(old, storage);
  if (problem === undefined) return;
  throw new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot remove volume ${old.path}`,
    why: problem,
    hint: "see what it is, and remove it with its storage's own tools if nobody needs it",
  });
}

async function problemOf(old: ConversionNote["old"], storage: StorageRegistry): Promise<string | undefined> {
  if (old.digest !== undefined)
    return old.digest === (await digestOf(old)) ? undefined : "it does not hold what was copied any more";
  if (old.key !== undefined) {
    const probe = await (await storage.backendFor(old)).probe(old, "header");
    const hasHeader = probe.kind === "luks" && probe.header.uuid === old.key;
    return hasHeader ? undefined : `it does not have the LUKS header of key ${old.key}`;
  }
  const isDevice = old.kind === "block" && old.identity?.startsWith("lv ") !== true;
  return isDevice ? "it is a device of which nothing tells that it holds what was copied" : undefined;
}

/** Why a volume is not the one that was noted, as far as its identity tells. */
export function otherVolume({ identity }: ConversionNote["old"]): string {
  return identity === undefined || outlivesRestart(identity)
    ? "it is another one than the volume that was copied: somebody has put it in that one's place"
    : "it is another device than the one that was copied, or the same after the host was started again: nothing of it tells";
}
