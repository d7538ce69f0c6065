import { statfs } from "node:fs/promises";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { blockDeviceAt } from "../storage/lvm/lvm-device.js";
import { whyOnOtherHosts } from "../storage/lvm/other-hosts.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";

/** statfs(2): file systems that several hosts have at once. */
const SHARED = new Set([
  ...[0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997],
  ...[0x00c36400, 0x01161970, 0x7461636f, 0x0bd00bd0, 0x47504653],
]);

/** Whether other hosts may have the volume, and would be seen: device nodes have locks on their own host only. */
export async function isSeenByOthers(volume: Volume): Promise<boolean> {
  switch (volume.kind) {
    case "file":
      return SHARED.has((await statfs(volume.path)).type);
    case "rbd":
      return true;
    case "block":
    case "none":
    case "other":
      return false;
  }
}

/**
 * Asks, with fcntl(2)'s F_OFD_GETLK (36), whether a lock keeps others from locking QEMU's bytes for permissions to write
 * and resize (F_WRLCK, from byte 101, 3 of them); F_UNLCK (2) is none. QEMU's own tools take locks to look.
 */
const LOOK = [
  'my $lock = pack("s s x4 q q i x4", 1, 0, 101, 3, 0);',
  'open(my $file, "<&=", 3) or die "$!\\n";',
  'fcntl($file, 36, $lock) or die "its locks cannot be read: $!\\n";',
  'print unpack("s", $lock) == 2 ? "free" : "open";',
].join(" ");

/**
 * Whether somebody has the volume open for writing, to be asked where no guest of this host does. Only looks: a guest
 * that is started meanwhile, here or elsewhere, gets its locks.
 */
export async function isOpenElsewhere(
  volume: Volume,
  backend: Pick<StorageBackend, "readHeader" | "changeHeader">,
  runner: CommandRunner,
): Promise<boolean> {
  if (volume.kind === "file") {
    await using file = await VolumeFile.open(volume.path, "read");
    const { stdout } = await runner.run({ tool: "perl", args: ["-e", LOOK], fds: [file.fd] });
    return stdout !== "free";
  }
  const { length } = await backend.readHeader(volume);
  try {
    await backend.changeHeader(volume, length, () => Promise.resolve([]), "excluded");
    return false;
  } catch (thrown) {
    if (asLuksmithError(thrown).code !== "VOLUME_BUSY") throw thrown;
    return true;
  }
}

/**
 * Why a guest of another host may have a block device open, which nothing here would tell; undefined for a device of
 * this host alone, and for what is none. Writes nothing.
 */
export async function whyUnseen(
  volume: Volume,
  backend: Pick<StorageBackend, "readHeader" | "changeHeader">,
  runner: CommandRunner,
): Promise<string | undefined> {
  if (volume.kind !== "block") return undefined;
  if ((await blockDeviceAt(volume.path)) !== "absent") return await whyOnOtherHosts(volume, runner);
  // a logical volume that is not active has its device while its backend works on it
  const { length } = await backend.readHeader(volume);
  let why: string | undefined;
  await backend.changeHeader(volume, length, async () => {
    why = await whyOnOtherHosts(volume, runner);
    return [];
  });
  return why;
}
