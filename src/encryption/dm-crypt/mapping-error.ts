import { stat } from "node:fs/promises";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { shellWord } from "../../error/shell-word.js";
import type { CommandResult } from "../../exec/command-runner.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import { writersOf } from "../../storage/block/device-users.js";
import { passphraseRejected } from "../../storage/volume-error.js";
import type { VolumeFile } from "../../storage/volume-file.js";
import type { MappingClaim, MappingOwner, MappingRequest } from "../encryption-provider.js";
import { LUKS_HEADER_BLOCK, readLuksHeader } from "../luks-header.js";
import { CODE, complaintOf } from "./cryptsetup.js";
import { hasDeviceMapper } from "./dm-crypt-kernel.js";
import { findMapping, isReadOnly, usersOf } from "./kernel-mapping.js";

/** Another's mapping has the name, or a name is none that Luksmith gives. */
export function mappingForeign(name: string, why: string, hint?: string): LuksmithError {
  return new LuksmithError("MAPPING_FOREIGN", {
    what: `cannot open mapping ${name}`,
    why,
    ...(hint && { hint }),
  });
}

export function notClaimed(name: string): LuksmithError {
  const look = `cryptsetup status ${shellWord(name)}`;
  return mappingForeign(
    name,
    "it is open already, and luksmith has not opened it",
    `see what it is: ${look}`,
  );
}

/** @param asking the guest for which it was to be opened */
export function claimedByOther(
  { name, guest, disk }: MappingClaim,
  asking: Pick<MappingOwner, "id">,
): LuksmithError {
  const why = `it is open for disk ${disk} of guest ${guest.name}`;
  const hint =
    asking.id === guest.id
      ? "give each disk a volume of its own, and each volume a name of its own"
      : "give each guest volumes of its own, or stop that guest";
  return mappingForeign(name, why, hint);
}

export async function mappingBusy(name: string): Promise<LuksmithError> {
  // nobody else opens a mapping for reading only
  if (isReadOnly(name)) {
    return new LuksmithError("MAPPING_BUSY", {
      what: `cannot open mapping ${name}: luksmith convert is copying the volume`,
      why: (await userOf(name)) ?? "it has the mapping open, for reading only",
      hint: `wait until it is done; if it was killed, see what is left of it: lsof ${shellWord(`/dev/mapper/${name}`)}`,
    });
  }
  return new LuksmithError("MAPPING_BUSY", {
    what: `cannot close mapping ${name}, which an earlier start of this guest left`,
    why: (await userOf(name)) ?? "something has it open",
    hint: `end what uses it: lsof ${shellWord(`/dev/mapper/${name}`)}`,
  });
}

export function volumeInUse({ volume }: Pick<MappingRequest, "volume">, why: string): LuksmithError {
  return new LuksmithError("VOLUME_BUSY", {
    what: `cannot open volume ${volume.path}`,
    why,
    hint: "give each guest volumes of its own; see who has it: lsblk, losetup --list",
  });
}

export function otherHeader(path: string, uuid: KeyUuid): LuksmithError {
  return new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot open volume ${path} with dm-crypt`,
    why: `its LUKS header is not the one of key ${uuid}`,
    hint: "find out which volume the disk should have",
  });
}

/** Why cryptsetup opened nothing. */
export async function openingFailed(opening: FailedOpening, result: CommandResult): Promise<LuksmithError> {
  const { name, volume, spec, file } = opening;
  const what = `cannot open volume ${volume.path} with dm-crypt`;
  const why = complaintOf(result).replaceAll("/proc/self/fd/3", volume.path);
  if (!hasDeviceMapper()) {
    const hint = "load the kernel modules dm-mod and dm-crypt";
    return new LuksmithError("TRAIT_MISSING", { what, why: "the kernel has no device-mapper", hint });
  }
  switch (result.exitCode) {
    case CODE.rejected:
      return passphraseRejected(volume.path);
    case CODE.busy:
      // a name that is taken and a volume that is in use have one exit code
      if (/ already exists/.test(result.stderr)) return notClaimed(name);
      return volumeInUse(opening, "another mapping, a mounted file system or another device is made of it");
    case CODE.device:
      return new LuksmithError("VOLUME_UNREADABLE", { what, why });
    default:
      // one exit code for all that is wrong
      if (spec.format === "plain" || (await hasHeader(file)))
        return new LuksmithError("TOOL_FAILED", { what, why });
      return new LuksmithError("VOLUME_NOT_FORMATTED", { what, why: "it has no LUKS header" });
  }
}

interface FailedOpening extends Pick<MappingRequest, "name" | "volume" | "spec"> {
  readonly file: VolumeFile;
}

/** Of any kind, also a damaged one. @throws VOLUME_UNREADABLE */
export async function hasHeader(file: VolumeFile): Promise<boolean> {
  return readLuksHeader(await file.read(0, LUKS_HEADER_BLOCK), ["luks", "luksv2"]).kind !== "none";
}

/** A user of the mapping, where looking tells. */
async function userOf(name: string): Promise<string | undefined> {
  const mapping = findMapping(name);
  const [above] = mapping === undefined ? [] : usersOf(mapping.number);
  if (above !== undefined) return `device ${above} is made of it`;
  try {
    const { rdev } = await stat(`/dev/mapper/${name}`, { bigint: true });
    const [user] = writersOf(rdev);
    return user && `process ${user.pid} (${user.command}) has it open`;
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    return undefined;
  }
}
