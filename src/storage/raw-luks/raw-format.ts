import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import { type LuksImage, type LuksPiece, MOST_WRITTEN } from "../../encryption/luks-image.js";
import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  type LuksHeader,
  PAYLOAD_OFFSET,
} from "../../encryption/luks-header.js";
import type { Allocation } from "../allocation-map.js";
import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { Secret } from "../../secret/secret.js";
import { tryContainer } from "../luks-container.js";
import type { ImageLock } from "../image-lock.js";
import { proveEmpty } from "./raw-empty.js";
import { probeRaw, readRawHeader } from "./raw-probe.js";
import type { RawVolume } from "./raw-volume.js";
import type { FormatRequest } from "../storage-backend.js";
import {
  formatRefused,
  formattedOtherwise,
  passphraseRejected,
  volumeReplaced,
  volumeTooSmall,
  volumeUnwritable,
} from "../volume-error.js";
import type { VolumeLocks } from "../volume-lock.js";
import { isZero } from "../zero.js";

const SECTOR = 512;
const PAGE = 4096;
const END = 1024 * 1024;

/**
 * Formats raw volumes: proves, writes and verifies on one open volume, under its lock. The block with our UUID is
 * written first and taken back last, so that whatever a kill leaves of our writing stands behind it: by it the next
 * call knows that it may go on.
 */
export class RawFormat {
  /** @param formats those of the storage */
  constructor(
    private readonly formatter: LuksFormatter,
    private readonly locks: VolumeLocks,
    private readonly formats: readonly EncryptionFormat[],
  ) {}

  /** `StorageBackend.createEncrypted` for `volume`, which is open for writing. */
  run(volume: RawVolume, request: FormatRequest): Promise<LuksHeader> {
    return this.locks.hold(volume.identity, (lock) => this.format(volume, request, lock));
  }

  /**
   * For `volume`, which the caller has just made and nobody else knows: it need not be empty between the header and the
   * last MiB. These must read as zeros, so that a volume which is not the new one is not overwritten.
   */
  runOnNew(volume: RawVolume, request: FormatRequest): Promise<LuksHeader> {
    return this.locks.hold(volume.identity, async (volumeLock) => {
      await using lock = await volume.lock(volumeLock);
      if (!(await volume.readsAsZero(endsOf(volume), 0))) {
        const signature = await volume.signature();
        throw formatRefused(volume.name, { kind: "data", signature });
      }
      const image = await this.formatter.makeHeader(request.uuid, request.spec, request.passphrase);
      return await this.writeNew(volume, image, request.passphrase, lock);
    });
  }

  /** `EmptinessProver.requireEmpty` for `volume`, which is open for writing. */
  requireEmpty(volume: RawVolume): Promise<void> {
    return this.locks.hold(volume.identity, async (volumeLock) => {
      const found = await probeRaw(volume, { depth: "header", formats: this.formats });
      if (found.kind !== "allocated" && found.kind !== "empty") throw formatRefused(volume.name, found);
      await using lock = await volume.lock(volumeLock);
      await proveEmpty(volume, { formats: this.formats, ours: 0 });
      if (!(await volume.isInPlace())) throw volumeReplaced(volume.name);
      await lock.assertHeld();
    });
  }

  private async format(
    volume: RawVolume,
    { uuid, spec, passphrase }: FormatRequest,
    volumeLock: number,
  ): Promise<LuksHeader> {
    const start = await volume.read(0, LUKS_HEADER_BLOCK);
    const isOurs = claimedLuksUuid(start) === uuid;
    if (isOurs) {
      const header = await this.finished(volume, start, passphrase);
      const version = spec.format === "luks" ? 1 : 2;
      if (header !== undefined && header.version !== version) throw formattedOtherwise(volume.name, header);
      if (header !== undefined) return header;
    }
    // from before the proof until all is written: nobody else writes meanwhile, however long the proof takes
    await using lock = await volume.lock(volumeLock);
    const image = await this.formatter.makeHeader(uuid, spec, passphrase);
    // what was read before the lock may have changed until then
    const isStillOurs = isOurs && (await volume.read(0, LUKS_HEADER_BLOCK)).equals(start);
    await proveEmpty(volume, { formats: this.formats, ours: isStillOurs ? MOST_WRITTEN : 0 });
    return await this.writeNew(volume, image, passphrase, lock);
  }

  /** On a volume of which it is known that it may be written over. */
  private async writeNew(
    volume: RawVolume,
    image: LuksImage,
    passphrase: Secret,
    lock: Pick<ImageLock, "assertHeld">,
  ): Promise<LuksHeader> {
    if (volume.size < image.header.payloadOffset + SECTOR)
      throw volumeTooSmall(volume.name, volume.size, image.header);
    if (!(await volume.isInPlace())) throw volumeReplaced(volume.name);
    await lock.assertHeld();
    try {
      await this.write(volume, image, passphrase);
    } catch (thrown) {
      await takeBack(volume, image);
      throw thrown;
    }
    return image.header;
  }

  /** The header, if an earlier call came to its end. */
  private async finished(
    volume: RawVolume,
    start: Buffer,
    passphrase: Secret,
  ): Promise<LuksHeader | undefined> {
    const luks = await readRawHeader(volume, start, this.formats);
    if (luks.kind !== "luks") return undefined;
    const answer = await tryContainer(this.formatter, volume, luks.header, passphrase);
    return answer === "opens" ? luks.header : undefined;
  }

  private async write(volume: RawVolume, { header, pieces }: LuksImage, passphrase: Secret): Promise<void> {
    for (const piece of pieces) {
      if (piece !== pieces[0] && !(await volume.isInPlace())) throw volumeReplaced(volume.name);
      await volume.write(piece.offset, piece.bytes);
      await volume.sync();
      // what read as zeros and is not empty, or forgets what is written, shows itself before more is overwritten
      await assertWritten(volume, piece);
    }
    for (const piece of pieces.slice(0, -1)) await assertWritten(volume, piece);
    const answer = await tryContainer(this.formatter, volume, header, passphrase);
    if (answer === "rejected") throw passphraseRejected(volume.name);
    if (!(await volume.isInPlace())) throw volumeReplaced(volume.name);
  }
}

/** @throws VOLUME_WRITE_FAILED */
async function assertWritten(volume: RawVolume, { offset, bytes }: LuksPiece): Promise<void> {
  if ((await volume.read(offset, bytes.length)).equals(bytes)) return;
  throw volumeUnwritable(volume.name, "what was written is not what is read back");
}

/**
 * Puts zeros back as far as the storage still lets us: the last piece first, and the block with our UUID only when all
 * of the others is zero again, since without it the rest would look like somebody's data for ever. Only what reads as
 * what we wrote is taken back: a device that read as zeros for a moment has its own bytes there by now.
 */
async function takeBack(volume: RawVolume, { pieces }: LuksImage): Promise<void> {
  const [block, ...others] = pieces;
  if (block === undefined) return;
  try {
    // page by page: on a full file system only the pages that were written before can be written again
    for (const piece of others.toReversed()) await writeZerosOver(volume, piece).catch(ignoreVolumeError);
    for (const { offset, bytes } of others) if (!isZero(await volume.read(offset, bytes.length))) return;
    await volume.sync();
    await writeZerosOver(volume, block);
    await volume.sync();
  } catch (thrown) {
    // the error that is reported is the one that led here, and the next call mends what is left
    ignoreVolumeError(thrown);
  }
}

async function writeZerosOver(volume: RawVolume, { offset, bytes }: LuksPiece): Promise<void> {
  for (let at = 0; at < bytes.length; at += PAGE) {
    const page = bytes.subarray(at, at + PAGE);
    if (isZero(page)) continue;
    const found = await volume.read(offset + at, page.length);
    if (found.equals(page)) await volume.write(offset + at, Buffer.alloc(page.length));
  }
}

function ignoreVolumeError(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError)) throw thrown;
}

/** Where the header comes to lie, and where RAID, LVM and partition tables keep copies of their signatures. */
function endsOf({ size }: RawVolume): Allocation {
  const end = Math.max(PAYLOAD_OFFSET, size - END);
  const ends = [
    { offset: 0, length: Math.min(size, PAYLOAD_OFFSET) },
    { offset: end, length: size - end },
  ];
  return ends.filter(({ length }) => length > 0);
}
