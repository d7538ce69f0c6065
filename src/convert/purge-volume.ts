import { unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { AuditLog } from "../audit/audit-log.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { syncDirectory } from "../fs/atomic-file.js";
import { missingMount, type MountTables, notMounted } from "../fs/missing-mount.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import type { ConfiguredGuest, Guest, HostAdapter } from "../host/host-adapter.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { findConfiguredUser, findVolumeUser } from "../plan/volume-users.js";
import { runLvm } from "../storage/lvm/lvm-command.js";
import { findLv } from "../storage/lvm/lvm-lookup.js";
import { whileActive } from "../storage/lvm/lvm-in-use.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Probe } from "../storage/storage-backend.js";
import { type PathVolume, volumeName } from "../storage/volume.js";
import type { VolumeLocks } from "../storage/volume-lock.js";
import { liesOver } from "./backing-chain.js";
import type { ConversionNotes } from "./conversion-notes.js";
import type { Watcher } from "./watcher.js";
import { shapeOf } from "./image-shape.js";
import { otherVolume, requireOldContent } from "./old-content.js";
import { lockSource } from "./source-lock.js";
import { identityOf } from "./volume-identity.js";
import { wipeVolume } from "./wipe-volume.js";

export interface PurgePorts {
  readonly audit: AuditLog;
  readonly host: HostAdapter;
  readonly storage: StorageRegistry;
  readonly runner: CommandRunner;
  readonly locks: VolumeLocks;
  readonly notes: ConversionNotes;
  readonly watcher: Watcher;
  /** Those of the host without it. */
  readonly mounts?: MountTables;
}

/** What can be done with the volume that a disk had before its conversion. */
type Purgeable =
  /** It is there, nobody has it, and the guest has the new one. */
  { readonly kind: "there"; readonly volume: PathVolume } | { readonly kind: "gone" };

/**
 * Whether the old volume of a disk that was converted may be removed. Guests of other hosts cannot be seen.
 * @throws VOLUME_BUSY if a guest has it, or something lies over it; VOLUME_UNREADABLE if it is not the volume that was
 *   copied, cannot be looked at, or the new one is not there; what keeps a guest from being read
 */
export async function requirePurgeable(
  note: ConversionNote,
  { host, storage, runner, notes, mounts }: PurgePorts,
): Promise<Purgeable> {
  const { old, disk } = note;
  const what = `cannot remove volume ${old.path}`;
  const guest = await host.readGuest(note.guest.id);
  await requireNewVolume(guest, note, { what, storage, notes, runner });
  const identity = await identityOf(old, runner);
  if (identity === undefined) {
    await requireGone(old, { what, runner, ...(mounts && { mounts }) });
    return { kind: "gone" };
  }
  if (identity !== old.identity) {
    throw new LuksmithError("VOLUME_UNREADABLE", {
      what,
      why: otherVolume(old),
      hint: "see what it is, and remove it with its storage's own tools if nobody needs it",
    });
  }
  await refuseUsers(guest, note, what, host);
  const { snapshots } = await shapeOf(old, runner);
  if (snapshots > 0) {
    throw new LuksmithError("VOLUME_BUSY", {
      what,
      why: `it has ${snapshots === 1 ? "a snapshot" : `${snapshots} snapshots`}, which hold the data of disk ${disk} as well`,
      hint: "remove them first",
    });
  }
  return { kind: "there", volume: old };
}

/** What cannot be looked at now is not gone, and may be the only plain copy. @throws VOLUME_UNREADABLE */
async function requireGone(
  { kind, path }: PathVolume,
  { what, runner, mounts }: { readonly what: string } & Pick<PurgePorts, "runner" | "mounts">,
): Promise<void> {
  const mountPoint = missingMount(dirname(path), mounts);
  if (mountPoint !== undefined)
    throw new LuksmithError("VOLUME_UNREADABLE", { what, ...notMounted(mountPoint) });
  const found = kind === "block" ? await findLv(runner, path) : undefined;
  if (found?.kind === "refused")
    throw new LuksmithError("VOLUME_UNREADABLE", { what, why: found.reason, hint: "see what LVM says: lvs" });
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
  const held = await lockSource(volume, lock, ports.runner).catch(busy);
  try {
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

/**
 * The guest has what the old volume had: in the new one, or in what that was converted to later, be it to another volume
 * or in place.
 */
async function requireNewVolume(
  guest: ConfiguredGuest,
  note: ConversionNote,
  {
    what,
    storage,
    notes,
    runner,
  }: { readonly what: string } & Pick<PurgePorts, "storage" | "notes" | "runner">,
): Promise<void> {
  const now = guest.disks.mapping[note.disk];
  const successors = successorsOf(note, notes.of(guest));
  const has = successors.find(({ path }) => now !== undefined && volumeName(now.volume) === path);
  const key = now?.encryption_secret_uuid;
  const isSame = has !== undefined && (key === has.key || has.identity === (await identityOf(has, runner)));
  if (note.state !== "verified" || has === undefined || !isSame) {
    throw new LuksmithError("VOLUME_BUSY", {
      what,
      why: `disk ${note.disk} of guest ${guest.name} is not ${note.new.path}, to which it was copied`,
      hint: "see: luksmith status; if the guest needs neither volume, remove both with their storage's own tools",
    });
  }
  const probe = await (await storage.backendFor(has)).probe(has, "header");
  const problem = problemOf(probe, key, has.key);
  if (problem === undefined) return;
  throw new LuksmithError("VOLUME_UNREADABLE", {
    what,
    why: `the guest's own volume ${has.path} ${problem}`,
    hint: "the old volume may be all that is left of the data: it was not touched",
  });
}

/** @param copied the key of the copy, which the guest names unless it was decrypted since */
function problemOf(probe: Probe, key: string | undefined, copied: string | undefined): string | undefined {
  const uuid = probe.kind === "luks" ? probe.header.uuid : undefined;
  if (key !== undefined) return uuid === key ? undefined : `does not have the LUKS header of key ${key}`;
  if (probe.kind === "absent" || probe.kind === "unreadable") return "cannot be read";
  const isEncrypted = uuid !== undefined && uuid === copied;
  return isEncrypted ? `is encrypted under key ${uuid}, which its configuration does not name` : undefined;
}

function successorsOf(note: ConversionNote, notes: readonly ConversionNote[]): ConversionNote["new"][] {
  const found = [note.new];
  for (const { path } of found) {
    const next = notes.find(({ old, disk, state }) => {
      return old.path === path && disk === note.disk && state === "verified";
    });
    if (next !== undefined && found.every((one) => one.path !== next.new.path)) found.push(next.new);
  }
  return found;
}

/** @throws VOLUME_BUSY */
async function refuseUsers(
  guest: Guest,
  { old }: ConversionNote,
  what: string,
  host: HostAdapter,
): Promise<void> {
  // the disk has another volume by now, so no device name is left out
  const wanted = { dev: "", volume: old, uuid: parseKeyUuid(old.key ?? "") };
  const user = (await findVolumeUser(host, guest, wanted)) ?? (await findConfiguredUser(host, guest, wanted));
  if (user !== undefined) {
    const by = user.by === "key" ? "is opened with its key" : "has it";
    throw new LuksmithError("VOLUME_BUSY", { what, why: `disk ${user.disk} of guest ${user.guest} ${by}` });
  }
  for (const { id } of await host.listGuests()) {
    const other = await host.readGuest(id);
    for (const { volume, dev } of Object.values(other.disks.mapping)) {
      if (volume.kind !== "file" || volume.format !== "qcow2" || !(await liesOver(volume, old.path)))
        continue;
      throw new LuksmithError("VOLUME_BUSY", {
        what,
        why: `disk ${dev} of guest ${other.name} is an overlay over it`,
      });
    }
  }
}

function busy(thrown: unknown): never {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "VOLUME_BUSY") throw thrown;
  throw new LuksmithError("VOLUME_BUSY", {
    what: "cannot remove a volume that is in use",
    ...(thrown.why !== undefined && { why: thrown.why }),
    cause: thrown,
  });
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
