import type { DiskMapping } from "../../disk-info/disk-info.js";
import type { EncryptionSpec, LuksSpec } from "../../encryption/luks-spec.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { ConfiguredGuest, HostAdapter } from "../../host/host-adapter.js";
import { separationCommand } from "../../plan/commands.js";
import { findUser, type VolumeUser } from "../../plan/volume-users.js";
import type { StorageRegistry } from "../../storage/index.js";
import { findLv } from "../../storage/lvm/lvm-lookup.js";
import { dependentsOf } from "../../storage/lvm/lvm-report.js";
import type { StorageBackend } from "../../storage/storage-backend.js";
import { isMappable, type PathVolume, volumeName } from "../../storage/volume.js";
import type { ConversionTo } from "./signpost.js";

/** The disk that an error is about. */
export interface Subject {
  readonly guest: ConfiguredGuest;
  readonly disk: DiskMapping;
  readonly to: ConversionTo;
}

/** Storage whose volumes are raw, reached by a path, and whose bytes this host alone moves. */
const STORAGE: ReadonlySet<string> = new Set(["raw", "block", "lvm"]);

export function cannot({ guest, disk, to }: Subject): string {
  return `cannot ${to === "encrypted" ? "encrypt" : "decrypt"} disk ${disk.dev} of guest ${guest.name} in place`;
}

/** @throws VOLUME_UNSUPPORTED, VOLUME_BUSY, KEY_IN_USE, VOLUME_FORMAT_FORBIDDEN */
export async function requireSuitable(
  subject: Subject,
  { host, storage, runner }: Ports,
): Promise<{ readonly volume: PathVolume; readonly backend: StorageBackend }> {
  const { guest, disk } = subject;
  const { volume } = disk;
  if (host.type !== "libvirt")
    throw unsupported(subject, "Proxmox VE encrypts a disk by moving it to encrypted storage");
  if (disk.mapping !== undefined)
    throw unsupported(
      subject,
      "dm-crypt decrypts it, and only volumes that QEMU opens are converted in place",
    );
  if (!isMappable(volume))
    throw unsupported(subject, `${volumeName(volume)} is no raw image file or block device`);
  if (disk.shareable === true || disk.readOnly)
    throw unsupported(subject, disk.readOnly ? "the guest has it read-only" : "guests share it");
  const backend = await storage.backendFor(volume);
  if (!STORAGE.has(backend.type))
    throw unsupported(
      subject,
      `it is on storage ${backend.type}; ${[...STORAGE].join(", ")} are converted in place`,
    );
  storage.requireFormatting(backend, volume);
  if (backend.type === "lvm") await refuseSnapshots(subject, volume, runner);
  const wanted = { dev: disk.dev, volume, uuid: disk.encryption_secret_uuid };
  const user = await findUser(host, guest, wanted);
  if (user === undefined) return { volume, backend };
  throw inUse(subject, user);
}

function inUse(subject: Subject, { guest, disk, by }: VolumeUser): LuksmithError {
  const other = `disk ${disk} of guest ${guest}`;
  switch (by) {
    case "volume":
      return new LuksmithError("VOLUME_BUSY", {
        what: `${cannot(subject)}: ${other} has ${volumeName(subject.disk.volume)} too`,
        hint: "take that disk out of its guest's configuration first",
      });
    case "key":
      return new LuksmithError("KEY_IN_USE", {
        what: `${cannot(subject)}: ${other} has the same key`,
        why: "one of them is a copy of the other, or has the same volume by another name",
        hint: `give the copy a key of its own first: ${separationCommand(subject.guest, subject.disk.dev)}; if the other disk is the copy, the same for that one`,
      });
  }
}

interface Ports {
  readonly host: HostAdapter;
  readonly storage: StorageRegistry;
  readonly runner: CommandRunner;
}

async function refuseSnapshots(subject: Subject, { path }: PathVolume, runner: CommandRunner): Promise<void> {
  const found = await findLv(runner, path);
  if (found === undefined || found.kind === "refused") return;
  const count = await dependentsOf(runner, path, found.lv);
  if (count > 0)
    throw unsupported(subject, `its volume has ${count} snapshots, which would stay as they are`);
}

/** @throws VOLUME_UNSUPPORTED: of LUKS1 with AES-XTS alone the payload is one sector after the other */
export function requireCipher(subject: Subject, spec: EncryptionSpec): asserts spec is LuksSpec {
  const { format, cipher, keySize } = spec;
  if (format !== "luks")
    throw unsupported(
      subject,
      `its format is ${format}, and only LUKS1, which QEMU opens, is converted in place`,
    );
  if (cipher !== "aes-xts-plain64" || (keySize !== 256 && keySize !== 512))
    throw unsupported(subject, `its cipher is ${cipher} with ${keySize} bits, and not aes-xts-plain64`);
}

export function unsupported(subject: Subject, why: string): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: cannot(subject),
    why,
    hint: "leave --in-place out, so that it is converted into a new volume",
  });
}
