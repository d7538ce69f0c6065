import { LuksmithError } from "../../error/luksmith-error.js";
import type { Guest } from "../../host/host-adapter.js";
import { formatBytes } from "../../plan/bytes.js";
import { guestWord } from "../../plan/commands.js";
import { volumeName } from "../../storage/volume.js";
import type { OnlineFacts } from "./gather-online.js";

type Named = Pick<Guest, "id" | "name">;

export function cannotConvertOnline({ name }: Pick<Guest, "name">, dev: string): string {
  return `cannot convert disk ${dev} of running guest ${name}`;
}

export function guestNotRunning(guest: Named, dev: string): LuksmithError {
  return new LuksmithError("GUEST_NOT_RUNNING", {
    what: `${cannotConvertOnline(guest, dev)}: it has stopped`,
    why: "a copy while a guest runs is its QEMU's work, and ends with it",
    hint: "the guest has its old volume, which holds all its data; run the command again",
  });
}

/** What speaks against the disk as it is. @throws DISK_NOT_FOUND, GUEST_CHANGED, VOLUME_UNSUPPORTED, VOLUME_BUSY */
export function refuseDisk(dev: string, { guest, disk, live, state, target }: OnlineFacts): void {
  const what = cannotConvertOnline(guest, dev);
  if (disk === undefined || live === undefined) {
    const where = disk === undefined ? "its configuration" : "the running guest";
    throw new LuksmithError("DISK_NOT_FOUND", { what: `${what}: ${where} has no such disk` });
  }
  const differs =
    volumeName(disk.volume) !== volumeName(live.volume) ||
    disk.encryption_secret_uuid !== live.encryption_secret_uuid;
  if (differs) {
    throw new LuksmithError("GUEST_CHANGED", {
      what: `${what}: it runs with another volume than its configuration has`,
      why: `it runs with ${volumeName(live.volume)}, and would start with ${volumeName(disk.volume)}`,
      hint: "let both be the same first: shut the guest down and start it again",
    });
  }
  if (live.mapping !== undefined) throw unsupported(what, "dm-crypt decrypts it, outside of QEMU");
  if (live.shareable) throw unsupported(what, "other guests may write to it meanwhile, past this one's QEMU");
  if (live.readOnly || live.type !== "disk")
    throw unsupported(what, "it is no disk that the guest writes to");
  if (live.volume.kind === "none" || live.volume.kind === "other")
    throw unsupported(what, `it is on ${volumeName(live.volume)}`);
  if (state.kind === "busy" || ("to" in state && state.to !== target.volume.path)) {
    const does = "to" in state ? `copies it to ${state.to}` : `is busy with it: ${state.with}`;
    throw new LuksmithError("VOLUME_BUSY", {
      what: `${what}: libvirt ${does}`,
      hint: `wait for it, or end it: virsh blockjob ${guestWord(guest)} ${dev} --abort`,
    });
  }
}

export function notEmpty(dev: string, { guest, target }: OnlineFacts, why: string): LuksmithError {
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `${cannotConvertOnline(guest, dev)} into ${volumeName(target.volume)}: it is not empty`,
    why,
    hint: "say a new name with --to, or remove it if an earlier conversion has left it",
  });
}

/** QEMU gives a running guest no volume of another size. @param header bytes before those of the disk */
export function sizeDiffers(
  dev: string,
  { guest, target, size }: OnlineFacts,
  { has, header }: { readonly has: bigint; readonly header: bigint },
): LuksmithError {
  const path = volumeName(target.volume);
  const exact = `${size + header} bytes${header === 0n ? "" : ` (the disk and ${formatBytes(header)} for its LUKS header)`}`;
  return new LuksmithError(has < size ? "VOLUME_TOO_SMALL" : "VOLUME_UNSUPPORTED", {
    what: `${cannotConvertOnline(guest, dev)} into ${path}: it is not as large as the disk`,
    why: `it has room for ${has} bytes, and the disk has ${size} (${formatBytes(size)}); a running guest's disk cannot change its size so`,
    hint: `make it of exactly ${exact}, which LVM can only where extents are that small; or say an image file with --to; or shut the guest down and run it again: then it may be larger`,
  });
}

function unsupported(what: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${what} while it runs`,
    why,
    hint: "shut the guest down, and run it again",
  });
}
