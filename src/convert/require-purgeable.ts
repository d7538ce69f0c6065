import { dirname } from "node:path";
import { type ErrorText, LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { missingMount, type MountTables, notMounted } from "../fs/missing-mount.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import type { ConfiguredGuest, Guest, HostAdapter } from "../host/host-adapter.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { findUser, type VolumeUser } from "../plan/volume-users.js";
import { findLv } from "../storage/lvm/lvm-lookup.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Probe } from "../storage/storage-backend.js";
import { type PathVolume, volumeName } from "../storage/volume.js";
import { liesOver } from "./backing-chain.js";
import type { ConversionNotes } from "./conversion-notes.js";
import { shapeOf } from "./image-shape.js";
import { otherVolume } from "./old-content.js";
import { identityOf } from "./volume-identity.js";

export interface PurgeablePorts {
  readonly host: HostAdapter;
  readonly storage: StorageRegistry;
  readonly runner: CommandRunner;
  readonly notes: ConversionNotes;
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
  { host, storage, runner, notes, mounts }: PurgeablePorts,
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
  { what, runner, mounts }: { readonly what: string } & Pick<PurgeablePorts, "runner" | "mounts">,
): Promise<void> {
  const mountPoint = missingMount(dirname(path), mounts);
  if (mountPoint !== undefined)
    throw new LuksmithError("VOLUME_UNREADABLE", { what, ...notMounted(mountPoint) });
  const found = kind === "block" ? await findLv(runner, path) : undefined;
  if (found?.kind === "refused")
    throw new LuksmithError("VOLUME_UNREADABLE", { what, why: found.reason, hint: "see what LVM says: lvs" });
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
  }: { readonly what: string } & Pick<PurgeablePorts, "storage" | "notes" | "runner">,
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
  const user = await findUser(host, guest, wanted);
  if (user !== undefined) {
    const other = `disk ${user.disk} of guest ${user.guest}`;
    throw new LuksmithError("VOLUME_BUSY", { what, ...whyNot(other, user.by) });
  }
  for (const { id } of await host.listGuests()) {
    const other = await host.readGuest(id);
    for (const { volume, dev } of Object.values(other.disks.mapping)) {
      if (volume.kind !== "file" || volume.format !== "qcow2" || !(await liesOver(volume, old.path)))
        continue;
      throw new LuksmithError("VOLUME_BUSY", {
        what,
        why: `disk ${dev} of guest ${other.name} is an overlay over it`,
        hint: `give ${volume.path} the data of its backing file first, as qemu-img rebase does while its guest is shut off`,
      });
    }
  }
}

function whyNot(other: string, by: VolumeUser["by"]): Pick<ErrorText, "why" | "hint"> {
  switch (by) {
    case "volume":
      return { why: `${other} has it`, hint: "take that disk out of its guest's configuration first" };
    case "key":
      return {
        why: `${other} is opened with its key`,
        hint: `see that ${other} has another volume, and not this one by another name; then remove this one with its storage's own tools, and purge again`,
      };
  }
}
