import { stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { AuditLog } from "../audit/audit-log.js";
import { loopOn } from "../encryption/dm-crypt/kernel-mapping.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { syncDirectory } from "../fs/atomic-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { fileUsersOf } from "../storage/block/device-users.js";
import { runLvm } from "../storage/lvm/lvm-command.js";
import { whileActive } from "../storage/lvm/lvm-in-use.js";
import type { PathVolume } from "../storage/volume.js";
import { volumeBusy } from "../storage/volume-error.js";
import type { VolumeLocks } from "../storage/volume-lock.js";
import type { Watcher } from "./watcher.js";
import { shapeOf } from "./image-shape.js";
import { requireOldContent } from "./old-content.js";
import { type PurgeablePorts, requirePurgeable } from "./require-purgeable.js";
import { lockSource } from "./source-lock.js";
import { wipeVolume } from "./wipe-volume.js";

export interface PurgePorts extends PurgeablePorts {
  readonly audit: AuditLog;
  readonly locks: VolumeLocks;
  readonly watcher: Watcher;
}

/**
 * Removes the volume, or empties one that is no file and no logical volume, and forgets the conversion. Idempotent; killed
 * at any instruction, a further call goes on. @throws as requirePurgeable; VOLUME_NOT_EMPTY if it does not hold what was
 *   copied; VOLUME_UNSUPPORTED, VOLUME_WRITE_FAILED
 */
export async function purgeVolume(
  note: ConversionNote,
  manner: "remove" | "wipe and remove",
  ports: PurgePorts,
): Promise<void> {
  const { runner, locks, notes, watcher } = ports;
  await locks.hold(`conversion into ${note.new.path}`, async (lock) => {
    ports.audit.requireWritable();
    const found = await requirePurgeable(note, ports);
    if (found.kind === "there") {
      const { volume } = found;
      if (manner === "remove") requireRemovable(note);
      await whileActive([volume], ports, () => claimAndWipe(note, manner, lock, ports));
      await remove(note, runner);
      await record(note, ports, manner === "remove" ? "removed" : overwritten(note));
      watcher.done(`removed ${volume.path}`);
    }
    notes.forget(note);
  });
}

/** @throws VOLUME_BUSY, VOLUME_NOT_EMPTY */
async function claimAndWipe(
  note: ConversionNote,
  manner: "remove" | "wipe and remove",
  lock: number,
  ports: PurgePorts,
): Promise<void> {
  const volume = note.old;
  const held = await lockSource(volume, lock, ports.runner).catch((thrown: unknown) => {
    throw refused(volume, thrown);
  });
  try {
    await refuseOthers(volume);
    await requireOldContent(note, ports);
    await record(note, ports, "removal begins");
    // what is half overwritten is not what was copied any more
    if (manner === "wipe and remove") ports.notes.write({ ...note, old: { ...volume, wiping: true } });
    if (manner === "wipe and remove" && volume.kind === "file") await wipe(volume, ports);
  } finally {
    await held[Symbol.asyncDispose]();
  }
  // a device is claimed by whoever writes to it
  if (manner === "wipe and remove" && volume.kind === "block") await wipe(volume, ports);
}

/** Of a volume that was not encrypted, under the key that its data have now. */
async function record(
  { guest, disk, old, new: made }: ConversionNote,
  { audit }: PurgePorts,
  detail: string,
): Promise<void> {
  const key = parseKeyUuid(old.key ?? made.key ?? "");
  if (key === undefined) return;
  const plain = old.key === undefined ? ", which was not encrypted" : "";
  const use = { guest, disk, volume: old.path, key };
  await audit.record({ event: "purge", ...use, result: "done", detail: `${detail}${plain}` });
}

async function wipe(volume: PathVolume, { watcher, runner }: PurgePorts): Promise<void> {
  using progress = watcher.begin("overwriting");
  await wipeVolume(volume, runner, progress.percent);
  watcher.done(`overwrote ${volume.path}`);
}

/** What locks says that it cannot copy. */
function refused({ path }: PathVolume, thrown: unknown): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "VOLUME_BUSY") return thrown;
  return volumeBusy(path, thrown.why, `cannot remove volume ${path}`);
}

/** QEMU's lock keeps off whoever takes such locks: other programs and the kernel do not. @throws VOLUME_BUSY */
async function refuseOthers({ kind, path }: PathVolume): Promise<void> {
  if (kind !== "file") return;
  const stats = await stat(path, { bigint: true });
  const loop = loopOn({ stats });
  const [user] = fileUsersOf(stats);
  const why =
    loop === undefined
      ? user && `process ${user.pid} (${user.command}) has it open`
      : `loop device ${loop} is made of it`;
  if (why !== undefined) throw volumeBusy(path, why, `cannot remove volume ${path}`);
}

function isRemovable({ kind, identity }: ConversionNote["old"]): boolean {
  return kind === "file" || identity?.startsWith("lv ") === true;
}

/** @throws VOLUME_UNSUPPORTED */
function requireRemovable({ old }: ConversionNote): void {
  if (isRemovable(old)) return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot remove ${old.path}`,
    why: "it is a device that Luksmith did not make and cannot remove",
    hint: "say --wipe to have it overwritten, or remove it with its storage's own tools",
  });
}

function overwritten({ old }: ConversionNote): string {
  return isRemovable(old) ? "overwritten and removed" : "overwritten";
}

async function remove({ old }: ConversionNote, runner: CommandRunner): Promise<void> {
  if (old.kind === "block") {
    const { lv } = await shapeOf(old, runner);
    const uuid = old.identity?.replace(/^lv /, "");
    if (lv === undefined || uuid === undefined) return;
    // whatever has this name by now: only the one that was copied
    await runLvm(runner, "lvremove", ["--yes", "--select", `lv_uuid=${uuid}`, "--", lv.group]);
    return;
  }
  try {
    await unlink(old.path);
    syncDirectory(dirname(old.path));
  } catch (thrown) {
    const error = systemErrorOf(thrown);
    if (error === undefined) throw thrown;
    throw new LuksmithError("VOLUME_WRITE_FAILED", { what: `cannot remove ${old.path}`, why: error.text });
  }
}
