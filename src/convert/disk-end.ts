import type { MappingRequest, Mappings } from "../encryption/encryption-provider.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Logger } from "../log/logger.js";
import type { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import type { CopyEnd } from "./volume-copier.js";

/** One end of a copy, within reach until it is disposed of. */
export interface DiskEnd extends CopyEnd, AsyncDisposable {
  /** Bytes that its guest sees. */
  readonly size: bigint;
  /**
   * Waits until the storage has all that was written, and lets the kernel forget what it knows of it: what is read
   * afterwards is what the storage has. For a file this is a wish, which file systems in memory cannot grant.
   * @throws VOLUME_WRITE_FAILED, TOOL_FAILED
   */
  settle(): Promise<void>;
}

export interface MappingPorts {
  readonly mappings: Mappings;
  readonly runner: CommandRunner;
  readonly logger: Logger;
}

/**
 * A volume that the kernel decrypts. Its mapping is held open all the time: nobody can close it, and so no start of its
 * guest can open it for itself. @throws as Mappings.open
 */
export async function mappedEnd(
  request: MappingRequest,
  passphrase: Secret,
  { mappings, runner, logger }: MappingPorts,
): Promise<DiskEnd> {
  const { name, guest, disk, volume } = request;
  const close = async () => {
    if ((await mappings.close(name, guest)).kind === "busy")
      logger.warn(`mapping ${name} is still in use: luksmith reap closes it`, { guest: guest.name, disk });
  };
  await mappings.open(request, passphrase);
  try {
    const file = await VolumeFile.open(`/dev/mapper/${name}`, "read", "block device");
    return {
      // whoever tries to close the mapping meanwhile may take its node away
      node: (filename) => ({ driver: "host_device", filename }),
      fd: file.fd,
      secrets: [],
      size: BigInt(file.size),
      settle: async () => {
        await settle(file, runner);
        if (volume.kind === "file") await settleFile(volume.path, runner);
      },
      async [Symbol.asyncDispose]() {
        await file[Symbol.asyncDispose]();
        await close();
      },
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

export interface NativeVolume {
  readonly volume: PathVolume;
  readonly backend: StorageBackend;
  /** Bytes that its guest sees. */
  readonly size: bigint;
  readonly passphrase: Secret;
}

/** A volume that QEMU decrypts. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
export async function nativeEnd(
  { volume, backend, size, passphrase }: NativeVolume,
  runner: CommandRunner,
): Promise<DiskEnd> {
  const id = "luksmith";
  const type = volume.kind === "file" ? "regular file" : "block device";
  const file = await VolumeFile.open(volume.path, "read", type);
  return {
    node: () => backend.qemuNode(volume, id),
    secrets: [{ id, passphrase }],
    size,
    settle: () => settle(file, runner),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

/** The loop device under a mapping reads what the kernel remembers of the file. */
async function settleFile(path: string, runner: CommandRunner): Promise<void> {
  await using file = await VolumeFile.open(path, "read");
  await settle(file, runner);
}

async function settle(file: VolumeFile, runner: CommandRunner): Promise<void> {
  await file.sync();
  if (file.stats.isBlockDevice())
    await runner.run({ tool: "blockdev", args: ["--flushbufs", "/proc/self/fd/3"], fds: [file.fd] });
  // POSIX_FADV_DONTNEED on all of it; nothing is read
  else
    await runner.run({
      tool: "dd",
      args: ["if=/proc/self/fd/3", "iflag=nocache", "count=0"],
      fds: [file.fd],
    });
}
