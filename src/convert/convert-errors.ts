import { LuksmithError } from "../error/luksmith-error.js";
import { formatBytes } from "../plan/bytes.js";
import { guestWord, protectCommand } from "../plan/commands.js";
import { volumeName } from "../storage/volume.js";
import type { ConvertPlan } from "./plan-convert.js";

export function failed({ guest, disk, source }: ConvertPlan, what: string, why?: string): LuksmithError {
  return new LuksmithError("CONVERT_FAILED", {
    what: `cannot convert disk ${disk} of guest ${guest.name}: ${what}`,
    ...(why === undefined ? {} : { why }),
    hint: `put this right and run it again; the guest still has ${source.volume.path}, which was only read`,
  });
}

/** The copy, or what was taken for one, reads otherwise than the original. */
export function different(plan: ConvertPlan): LuksmithError {
  const { target, copy, guest, disk } = plan;
  const path = volumeName(target.volume);
  if (copy === "again") return failed(plan, "the copy is not what was copied", `${path} reads otherwise`);
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot convert disk ${disk} of guest ${guest.name} into ${path}: it holds other data`,
    why: "the disk was on it after an earlier conversion, was put back, and one of the volumes was written to since",
    hint: `if the guest's data are on the old volume, say a new name with --to; if on the new one: ${putForward(plan)}`,
  });
}

/** The guest was started and shut off again around the change, and has its new volume. */
export function undecided({ guest, disk, source, target }: ConvertPlan): LuksmithError {
  const [old, made] = [source.volume.path, volumeName(target.volume)];
  return new LuksmithError("CONVERT_FAILED", {
    what: `disk ${disk} of guest ${guest.name} is ${made} now, and the guest was started while it became that`,
    why: `nothing tells whether the guest has run on ${made} or on ${old}`,
    hint: `before it is started again, see which of the two has what it wrote last, and keep both until then: if ${made}, all is done; if ${old}, make it the disk again with virsh edit, and run it again under a new name (--to)`,
  });
}

export function tooSmall({ target, guest, disk }: ConvertPlan, room: bigint, size: bigint): LuksmithError {
  return new LuksmithError("VOLUME_TOO_SMALL", {
    what: `cannot convert disk ${disk} of guest ${guest.name} into ${volumeName(target.volume)}`,
    why: `it has room for ${formatBytes(room)}, and the disk has ${formatBytes(size)}`,
    hint: "enlarge it, or say a new name with --to",
  });
}

/** How the disk gets the new volume without a copy; what the metadata say of its mapping counts no more then. */
function putForward({ guest, disk, target, key }: ConvertPlan): string {
  const { kind, path } = target.volume;
  const source = `<disk type='${kind}'> with <source ${kind === "block" ? "dev" : "file"}='${path}'/>`;
  const edit = `virsh edit ${guestWord(guest)}, make ${disk} a ${source}`;
  return key === undefined ? edit : `${edit}, then: ${protectCommand(guest, [disk])}`;
}
