import { open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import type { LuksHeader } from "../../encryption/luks-header.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { type ImageLock, lockImage } from "../image-lock.js";
import { tryContainer } from "../luks-container.js";
import { Qcow2Creator } from "./qcow2-create.js";
import { holdEntry } from "./qcow2-entry.js";
import type { Qcow2Header } from "./qcow2-header.js";
import { probeQcow2 } from "./qcow2-probe.js";
import type { FormatRequest } from "../storage-backend.js";
import { formatRefused, passphraseRejected, volumeReplaced, volumeUnwritable } from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/**
 * Formats qcow2 image files: makes an encrypted image beside the empty one, has QEMU prove it, and renames it over.
 * All that a kill leaves of our work is a temporary file named after the key, which the next call removes.
 */
export class Qcow2Format {
  private readonly creator: Qcow2Creator;

  constructor(
    private readonly runner: CommandRunner,
    private readonly formatter: LuksFormatter,
    private readonly locks: VolumeLocks,
  ) {
    this.creator = new Qcow2Creator(runner, formatter);
  }

  /** `StorageBackend.createEncrypted` for the file at `path`; where this is a symbolic link, the link stays. */
  async run(path: string, request: FormatRequest): Promise<LuksHeader> {
    return await holdEntry(this.locks, path, (real, lock) => this.format(real, request, lock));
  }

  private async format(path: string, request: FormatRequest, volumeLock: number): Promise<LuksHeader> {
    const { uuid, passphrase } = request;
    // not named after the image, whose name may have all the length that a file system allows
    const temporary = join(dirname(path), `.luksmith-${uuid}.tmp`);
    await discard(temporary);

    await using file = await VolumeFile.open(path, "read");
    const found = await probeQcow2(this.runner, file, "header");
    if (found.kind === "luks" && found.header.uuid === uuid) {
      const answer = await tryContainer(this.formatter, file, found.header, passphrase, found.container);
      if (answer === "rejected") throw passphraseRejected(path);
      return found.header;
    }
    // from before the proof until the image is replaced: no QEMU writes what the new image would not have
    await using lock = await lockImage(this.runner, file, volumeLock);
    const probe = await probeQcow2(this.runner, file, "read");
    if (probe.kind !== "empty") throw formatRefused(path, probe);
    try {
      const header = await this.createBeside(file, temporary, probe.image, request);
      await this.replace(file, temporary, lock);
      return header;
    } catch (thrown) {
      await discard(temporary);
      throw thrown;
    }
  }

  private async createBeside(
    original: VolumeFile,
    temporary: string,
    image: Qcow2Header,
    request: FormatRequest,
  ): Promise<LuksHeader> {
    await using target = await VolumeFile.create(temporary, original.name);
    const header = await this.creator.create(target, image, request);
    await this.runner.run({
      tool: "cp",
      // Node knows no extended attributes and no access control lists
      args: [
        "--attributes-only",
        "--preserve=mode,ownership,xattr",
        "--",
        "/proc/self/fd/3",
        "/proc/self/fd/4",
      ],
      fds: [original.fd, target.fd],
    });
    await target.sync();
    return header;
  }

  private async replace(original: VolumeFile, temporary: string, lock: ImageLock): Promise<void> {
    // making the image took its time, and not every writer is a QEMU that heeds its locks
    const probe = await probeQcow2(this.runner, original, "read");
    if (probe.kind !== "empty") throw formatRefused(original.name, probe);
    if (!(await original.isInPlace())) throw volumeReplaced(original.name);
    await lock.assertHeld();
    try {
      await rename(temporary, original.path);
      await using directory = await open(dirname(original.path), "r");
      await directory.sync();
    } catch (thrown) {
      const error = systemErrorOf(thrown);
      throw error === undefined ? thrown : volumeUnwritable(original.name, error.text);
    }
  }
}

/** What cannot be removed is met again when the next file of that name is made. */
async function discard(path: string): Promise<void> {
  await unlink(path).catch((thrown: unknown) => {
    if (systemErrorOf(thrown) === undefined) throw thrown;
  });
}
