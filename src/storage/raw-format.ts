import type { LuksFormatter, LuksImage } from "../encryption/luks-formatter.js";
import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  type LuksHeader,
  readLuksHeader,
} from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Secret } from "../secret/secret.js";
import { allocationMap } from "./allocation-map.js";
import { lockImage } from "./image-lock.js";
import { probeRaw } from "./raw-probe.js";
import type { FormatRequest } from "./storage-backend.js";
import {
  formatRefused,
  passphraseRejected,
  volumeReplaced,
  volumeTooSmall,
  volumeUnwritable,
} from "./volume-error.js";
import { VolumeFile } from "./volume-file.js";
import type { VolumeLocks } from "./volume-lock.js";
import { isZero, readsAsZero } from "./zero.js";

const SECTOR = 512;
const PAGE = 4096;
/** The most that a format writes: the header block, and keyslot 0's key material for a volume key of 64 bytes. */
const WRITTEN = LUKS_HEADER_BLOCK + 64 * 4000;

/**
 * Formats raw image files: proves, writes and verifies on one open inode, under the volume's lock. The header block
 * is written first and taken back last, so that whatever a kill leaves of our writing stands behind a header with our
 * UUID: by it the next call knows that it may go on.
 */
export class RawFormat {
  constructor(
    private readonly runner: CommandRunner,
    private readonly formatter: LuksFormatter,
    private readonly locks: VolumeLocks,
  ) {}

  /** `StorageBackend.createEncrypted` for the file at `path`. */
  async run(path: string, request: FormatRequest): Promise<LuksHeader> {
    await using file = await VolumeFile.open(path, "read-write");
    // the inode and not the path: links and bind mounts give one volume many paths
    const identity = `inode ${file.stats.dev}:${file.stats.ino}`;
    return await this.locks.hold(identity, (lock) => this.format(file, request, lock));
  }

  private async format(
    file: VolumeFile,
    { uuid, spec, passphrase }: FormatRequest,
    volumeLock: number,
  ): Promise<LuksHeader> {
    const path = file.name;
    const start = await file.read(0, LUKS_HEADER_BLOCK);
    const isOurs = claimedLuksUuid(start) === uuid;
    if (isOurs) {
      const header = await this.finished(file, start, passphrase);
      if (header !== undefined) return header;
    }
    // from before the proof until all is written: no QEMU writes meanwhile, however long the proof takes
    await using lock = await lockImage(this.runner, file, volumeLock);
    const image = await this.formatter.makeHeader(uuid, spec, passphrase);
    // what was read before the lock may have changed until then
    const isStillOurs = isOurs && (await file.read(0, LUKS_HEADER_BLOCK)).equals(start);
    await this.proveEmpty(file, isStillOurs ? WRITTEN : 0);
    if (file.size < image.header.payloadOffset + SECTOR) throw volumeTooSmall(path, file.size, image.header);
    if (!(await file.isInPlace())) throw volumeReplaced(path);
    lock.assertHeld();
    try {
      await this.write(file, image, passphrase);
    } catch (thrown) {
      await takeBack(file, image);
      throw thrown;
    }
    return image.header;
  }

  /** The header, if an earlier call came to its end. */
  private async finished(
    file: VolumeFile,
    start: Buffer,
    passphrase: Secret,
  ): Promise<LuksHeader | undefined> {
    const luks = readLuksHeader(start);
    if (luks.kind !== "luks") return undefined;
    const answer = await this.formatter.tryPassphrase(file.fd, passphrase);
    return answer === "opens" ? luks.header : undefined;
  }

  /** @param from bytes before it are of our own making */
  private async proveEmpty(file: VolumeFile, from: number): Promise<void> {
    // the map of what was written a moment ago is certain only when it is on the storage (ZFS)
    await file.sync();
    const map = await allocationMap(this.runner, file, { format: "raw", size: file.size });
    const written = { offset: 0, length: WRITTEN };
    // what will be overwritten comes last: not every writer is a QEMU that heeds its locks
    if ((await readsAsZero(file, map, from)) && (await readsAsZero(file, [written], from))) return;
    if (from > 0) throw passphraseRejected(file.name);
    const probe = await probeRaw(this.runner, file, "read");
    throw formatRefused(file.name, probe.kind === "empty" ? { kind: "allocated" } : probe);
  }

  private async write(
    file: VolumeFile,
    { block, keyMaterial }: LuksImage,
    passphrase: Secret,
  ): Promise<void> {
    const { offset, bytes } = keyMaterial;
    await file.write(0, block);
    await file.sync();
    await file.write(offset, bytes);
    await file.sync();

    const isWritten =
      (await file.read(0, block.length)).equals(block) &&
      (await file.read(offset, bytes.length)).equals(bytes);
    if (!isWritten) throw volumeUnwritable(file.name, "what was written is not what is read back");
    const answer = await this.formatter.tryPassphrase(file.fd, passphrase);
    if (answer === "rejected") throw passphraseRejected(file.name);
    if (!(await file.isInPlace())) throw volumeReplaced(file.name);
  }
}

/**
 * Puts zeros back as far as the storage still lets us: the key material first, and the header only when all of that
 * is zero again, since without its header the rest would look like somebody's data for ever.
 */
async function takeBack(
  file: VolumeFile,
  { block, keyMaterial: { offset, bytes } }: LuksImage,
): Promise<void> {
  try {
    // page by page: on a full file system only the pages that were written before can be written again
    await writeZeros(file, offset, bytes.length).catch(ignoreVolumeError);
    if (!isZero(await file.read(offset, bytes.length))) return;
    await file.sync();
    await writeZeros(file, 0, block.length);
    await file.sync();
  } catch (thrown) {
    // the error that is reported is the one that led here, and the next call mends what is left
    ignoreVolumeError(thrown);
  }
}

async function writeZeros(file: VolumeFile, offset: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += PAGE) {
    await file.write(offset + at, Buffer.alloc(Math.min(PAGE, length - at)));
  }
}

function ignoreVolumeError(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError)) throw thrown;
}
