import type { LuksHeader } from "../encryption/luks-header.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Probe, StorageBackend } from "./storage-backend.js";

export function volumeAbsent(path: string): LuksmithError {
  return new LuksmithError("VOLUME_NOT_FOUND", {
    what: `volume ${path} does not exist`,
    hint: "check that its storage is mounted",
  });
}

export function volumeUnreadable(path: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_UNREADABLE", { what: `cannot read volume ${path}`, why });
}

export function volumeUnwritable(path: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_WRITE_FAILED", {
    what: `cannot write to volume ${path}`,
    why,
    hint: "put this right and try again: what was written is taken back, or mended by the next try",
  });
}

export function volumeTooSmall(path: string, size: number, { payloadOffset }: LuksHeader): LuksmithError {
  return new LuksmithError("VOLUME_TOO_SMALL", {
    what: `cannot format volume ${path}`,
    why: `it has ${size} bytes, and the LUKS header alone takes ${payloadOffset}`,
    hint: "make the volume larger",
  });
}

export function volumeExists(path: string): LuksmithError {
  return new LuksmithError("VOLUME_EXISTS", {
    what: `cannot make volume ${path}`,
    why: "it exists already",
    hint: "choose another name",
  });
}

export function volumeNotAllocated(path: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_ALLOCATE_FAILED", {
    what: `cannot make volume ${path}`,
    why,
    hint: "put this right and try again; nothing is left of the try",
  });
}

export function volumeNotGrown(path: string, why: string, hint?: string): LuksmithError {
  return new LuksmithError("VOLUME_GROW_FAILED", {
    what: `cannot enlarge volume ${path}`,
    why,
    hint: hint ?? "put this right and try again; the volume is as large as it was",
  });
}

/** It has no room for the header that it had. */
export function headerTooLong(path: string, size: number, length: number): LuksmithError {
  return new LuksmithError("VOLUME_TOO_SMALL", {
    what: `cannot change the LUKS header of volume ${path}`,
    why: `the header takes ${length} bytes, and the volume has ${size}`,
    hint: "see whether it is the right volume",
  });
}

/** @throws VOLUME_WOULD_SHRINK if the guest sees more than it shall */
export function refuseShrinking(path: string, guestSees: bigint, guestSize: bigint): void {
  if (guestSees <= guestSize) return;
  throw new LuksmithError("VOLUME_WOULD_SHRINK", {
    what: `cannot make volume ${path} smaller`,
    why: `its guest sees ${guestSees} bytes, and ${guestSize} would cut off data`,
    hint: "say a size that is larger than that",
  });
}

export function volumeBusy(
  path: string,
  why = "a QEMU process has it open",
  what = `cannot format volume ${path}`,
): LuksmithError {
  return new LuksmithError("VOLUME_BUSY", {
    what,
    why,
    hint: "stop the guest, the block job or the program that uses it",
  });
}

/** Another file took the place of the one that was worked on, which is as it was. */
export function volumeReplaced(path: string): LuksmithError {
  return new LuksmithError("VOLUME_NOT_FOUND", {
    what: `cannot write to volume ${path}`,
    why: "it was moved, deleted or replaced meanwhile",
  });
}

export function passphraseRejected(path: string): LuksmithError {
  return new LuksmithError("PASSPHRASE_REJECTED", {
    what: `no keyslot of volume ${path} opens with the passphrase of its key`,
    hint: "if the volume or its header came back from a backup, luksmith rotate gives it the present passphrase by a former one; else restore the header: luksmith header list",
  });
}

/** Why a volume that holds something must not be formatted. */
export function formatRefused(path: string, probe: Exclude<Probe, { kind: "empty" }>): LuksmithError {
  const what = `cannot format volume ${path}`;
  const hint = "move the data to another volume, or give the guest a new one";
  switch (probe.kind) {
    case "absent":
      return volumeAbsent(path);
    case "unreadable":
      return volumeUnreadable(path, probe.reason);
    case "luks":
      return new LuksmithError("LUKS_UUID_MISMATCH", {
        what,
        why: `it has the LUKS header of another key already: ${probe.header.uuid}`,
        hint: "find out who uses that key before you give the volume to this guest",
      });
    case "bad-luks":
      return new LuksmithError("VOLUME_NOT_EMPTY", { what, why: `it is not empty: ${probe.reason}`, hint });
    case "data":
      return new LuksmithError("VOLUME_NOT_EMPTY", {
        what,
        why: `it holds ${probe.signature ?? "data"}`,
        hint,
      });
    case "allocated":
      return new LuksmithError("VOLUME_NOT_PROVEN_EMPTY", { what, why: "it was not read to its end", hint });
  }
}

/** What was asked for now would be another container than the one that an earlier call has finished. */
export function formattedOtherwise(path: string, { version }: LuksHeader): LuksmithError {
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot format volume ${path}`,
    why: `this key has a LUKS header of version ${version} there already, and another version is asked for`,
    hint: "leave the format as it was when the volume was protected",
  });
}

/** @throws VOLUME_UNSUPPORTED if storage of this type cannot carry the format */
export function refuseFormat(
  path: string,
  { type, formats }: Pick<StorageBackend, "type" | "formats">,
  format: EncryptionFormat,
): void {
  if (formats.includes(format)) return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot format volume ${path} as ${format}`,
    why: `storage ${type} carries ${formats.join(", ")} only`,
  });
}

/** Why a passphrase cannot be tested on a volume that has no good LUKS header. */
export function notFormatted(path: string, probe: Exclude<Probe, { kind: "luks" }>): LuksmithError {
  const what = `cannot open volume ${path}`;
  switch (probe.kind) {
    case "absent":
      return volumeAbsent(path);
    case "unreadable":
      return volumeUnreadable(path, probe.reason);
    case "bad-luks":
      return new LuksmithError("LUKS_HEADER_INVALID", {
        what,
        why: probe.reason,
        hint: "restore its LUKS header from a backup",
      });
    case "empty":
    case "allocated":
    case "data":
      return new LuksmithError("VOLUME_NOT_FORMATTED", { what, why: "it has no LUKS header" });
  }
}
