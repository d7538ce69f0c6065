import type { MappingRequest, Mappings } from "../encryption/encryption-provider.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Logger } from "../log/logger.js";
import type { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { PathVolume } from "../storage/volume.js";
import { QCOW2_HEADER_AREA, readQcow2Header } from "../storage/qcow2/qcow2-header.js";
import { wholeSectors } from "../storage/sectors.js";
import { volumeUnreadable } from "../storage/volume-error.js";
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
  /** Of its secret in the tool that copies, where there may be two. */
  readonly id?: "source" | "target";
}

/** A volume that QEMU decrypts. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
export async function nativeEnd(
  { volume, backend, size, passphrase, id = "target" }: NativeVolume,
  runner: CommandRunner,
): Promise<DiskEnd> {
  const file = await openVolume(volume);
  return {
    node: () => backend.qemuNode(volume, id),
    secrets: [{ id, passphrase }],
    size,
    ...(id === "source" && volume.format === "qcow2" && { isWhole: true as const }),
    settle: () => settle(file, runner),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

/** A volume that nobody need decrypt. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
export async function plainEnd(volume: PathVolume, runner: CommandRunner): Promise<DiskEnd> {
  const file = await openVolume(volume);
  try {
    const end = {
      secrets: [],
      settle: () => settle(file, runner),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
    const driver = volume.kind === "file" ? "file" : "host_device";
    if (volume.format === "raw") {
      const node = (filename: string) => ({ driver, filename });
      return { ...end, node, fd: file.fd, size: wholeSectors(BigInt(file.size)) };
    }
    const image = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
    if (image.kind !== "qcow2") throw volumeUnreadable(volume.path, "it is not a qcow2 image");
    // by its path: an overlay's base is often named from where the overlay is
    const node = () => ({ driver: "qcow2", file: { driver, filename: volume.path } });
    return { ...end, node, size: BigInt(image.header.size), isWhole: true };
  } catch (thrown) {
    await file[Symbol.asyncDispose]();
    throw thrown;
  }
}

function openVolume({ kind, path }: PathVolume): Promise<VolumeFile> {
  return VolumeFile.open(path, "read", kind === "file" ? "regular file" : "block device");
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
