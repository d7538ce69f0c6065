import type { LuksFormatter, LuksImage } from "../../encryption/luks-formatter.js";
import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  type LuksHeader,
  readLuksHeader,
} from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { Secret } from "../../secret/secret.js";
import { tryContainer } from "../luks-container.js";
import { probeRaw } from "./raw-probe.js";
import type { RawVolume } from "./raw-volume.js";
import type { FormatRequest } from "../storage-backend.js";
import {
  formatRefused,
  passphraseRejected,
  volumeReplaced,
  volumeTooSmall,
  volumeUnwritable,
} from "../volume-error.js";
import type { VolumeLocks } from "../volume-lock.js";
import { isZero } from "../zero.js";

const SECTOR = 512;
const PAGE = 4096;
/** The most that a format writes: the header block, and keyslot 0's key material for a volume key of 64 bytes. */
const WRITTEN = LUKS_HEADER_BLOCK + 64 * 4000;

/**
 * Formats raw volumes: proves, writes and verifies on one open volume, under its lock. The header block is written
 * first and taken back last, so that whatever a kill leaves of our writing stands behind a header with our UUID: by it
 * the next call knows that it may go on.
 */
export class RawFormat {
  constructor(
    private readonly formatter: LuksFormatter,
    private readonly locks: VolumeLocks,
  ) {}

  /** `StorageBackend.createEncrypted` for `volume`, which is open for writing. */
  run(volume: RawVolume, request: FormatRequest): Promise<LuksHeader> {
    return this.locks.hold(volume.identity, (lock) => this.format(volume, request, lock));
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
      if (header !== undefined) return header;
    }
    // from before the proof until all is written: nobody else writes meanwhile, however long the proof takes
    await using lock = await volume.lock(volumeLock);
    const image = await this.formatter.makeHeader(uuid, spec, passphrase);
    // what was read before the lock may have changed until then
    const isStillOurs = isOurs && (await volume.read(0, LUKS_HEADER_BLOCK)).equals(start);
    await proveEmpty(volume, isStillOurs ? WRITTEN : 0);
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
    const luks = readLuksHeader(start);
    if (luks.kind !== "luks" || luks.header.payloadOffset >= volume.size) return undefined;
    const answer = await tryContainer(this.formatter, volume, luks.header, passphrase);
    return answer === "opens" ? luks.header : undefined;
  }

  private async write(
    volume: RawVolume,
    { header, block, keyMaterial }: LuksImage,
    passphrase: Secret,
  ): Promise<void> {
    const { offset, bytes } = keyMaterial;
    await volume.write(0, block);
    await volume.sync();
    // what read as zeros and is not empty, or forgets what is written, shows itself before more is overwritten
    await assertWritten(volume, 0, block);
    if (!(await volume.isInPlace())) throw volumeReplaced(volume.name);
    await volume.write(offset, bytes);
    await volume.sync();
    await assertWritten(volume, 0, block);
    await assertWritten(volume, offset, bytes);
    const answer = await tryContainer(this.formatter, volume, header, passphrase);
    if (answer === "rejected") throw passphraseRejected(volume.name);
    if (!(await volume.isInPlace())) throw volumeReplaced(volume.name);
  }
}

/** @throws VOLUME_WRITE_FAILED */
async function assertWritten(volume: RawVolume, offset: number, bytes: Buffer): Promise<void> {
  if ((await volume.read(offset, bytes.length)).equals(bytes)) return;
  throw volumeUnwritable(volume.name, "what was written is not what is read back");
}

/** @param from bytes before it are of our own making */
async function proveEmpty(volume: RawVolume, from: number): Promise<void> {
  const allocation = await volume.allocation();
  const written = { offset: 0, length: WRITTEN };
  // what will be overwritten comes last: not every writer heeds locks
  if ((await volume.readsAsZero(allocation, from)) && (await volume.readsAsZero([written], from))) {
    const signature = await volume.obstacle();
    if (signature !== undefined) throw formatRefused(volume.name, { kind: "data", signature });
    return;
  }
  if (from > 0) throw passphraseRejected(volume.name);
  const probe = await probeRaw(volume, "read");
  throw formatRefused(volume.name, probe.kind === "empty" ? { kind: "allocated" } : probe);
}

/**
 * Puts zeros back as far as the storage still lets us: the key material first, and the header only when all of that
 * is zero again, since without its header the rest would look like somebody's data for ever. Only what reads as what
 * we wrote is taken back: a device that read as zeros for a moment has its own bytes there by now.
 */
async function takeBack(
  volume: RawVolume,
  { block, keyMaterial: { offset, bytes } }: LuksImage,
): Promise<void> {
  try {
    // page by page: on a full file system only the pages that were written before can be written again
    await writeZerosOver(volume, offset, bytes).catch(ignoreVolumeError);
    if (!isZero(await volume.read(offset, bytes.length))) return;
    await volume.sync();
    await writeZerosOver(volume, 0, block);
    await volume.sync();
  } catch (thrown) {
    // the error that is reported is the one that led here, and the next call mends what is left
    ignoreVolumeError(thrown);
  }
}

async function writeZerosOver(volume: RawVolume, offset: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += PAGE) {
    const page = bytes.subarray(at, at + PAGE);
    const found = await volume.read(offset + at, page.length);
    if (found.equals(page)) await volume.write(offset + at, Buffer.alloc(page.length));
  }
}

function ignoreVolumeError(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError)) throw thrown;
}
