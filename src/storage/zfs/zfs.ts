import { existsSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { type LuksHeader, PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { findTool, type Tool } from "../../exec/tools.js";
import { BlockBackend, devicePath } from "../block/block.js";
import { blockDeviceAt } from "../lvm/lvm-device.js";
import type { RawVolume } from "../raw-luks/raw-volume.js";
import { cryptSector, payloadSize, roundUp } from "../sectors.js";
import type {
  AllocateRequest,
  EncryptedAllocator,
  FormatRequest,
  GrowRequest,
  VolumeAllocator,
} from "../storage-backend.js";
import type { Volume } from "../volume.js";
import { refuseShrinking, volumeExists, volumeNotAllocated, volumeNotGrown } from "../volume-error.js";
import { type Access, deviceNumber, VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";
import { datasetOf, ZfsDataset } from "./zfs-dataset.js";
import { Zvol } from "./zvol.js";

const PAUSE = 50;

/** ZFS volumes, by the links that udev makes to them: /dev/zvol/POOL/…/NAME. */
export class ZfsBackend extends BlockBackend implements VolumeAllocator, EncryptedAllocator {
  override readonly type = "zfs";
  override readonly tools: readonly Tool[] = ["zfs"];

  /** @param patience milliseconds until udev has made the link to a new volume's device */
  constructor(
    runner: CommandRunner,
    formatter: LuksFormatter,
    locks: VolumeLocks,
    private readonly patience = 10_000,
  ) {
    super(runner, formatter, locks);
  }

  override accepts(volume: Volume): boolean | Promise<boolean> {
    if (volume.kind !== "block" || volume.format !== "raw" || datasetOf(volume.path) === undefined)
      return false;
    // a partition's link looks like that of another dataset
    return /-part[0-9]+$/.test(volume.path) ? isWhole(volume.path) : true;
  }

  protected override open(volume: Volume, access: Access): Promise<RawVolume> {
    return this.openZvol(volume, access);
  }

  async extent(volume: Volume): Promise<bigint> {
    return (await this.dataset(volume).sizes()).volblocksize;
  }

  /** ZFS enlarges the device at once, also under a guest that has it open. */
  override async grow({ volume, header, guestSize }: GrowRequest): Promise<bigint> {
    const dataset = this.dataset(volume);
    const { path } = dataset;
    await using zvol = await this.openZvol(volume, "read");
    return await this.locks.hold(zvol.identity, async () => {
      const { volsize, volblocksize } = await dataset.sizes();
      const seen = await this.guestSize(volume, header);
      if (seen !== payloadSize(volsize, header))
        throw volumeNotGrown(path, `its device does not have the ${volsize} bytes that ZFS says it has`);
      const needed = roundUp(guestSize, cryptSector(header)) + BigInt(header.payloadOffset);
      const wanted = roundUp(needed, volblocksize);
      refuseShrinking(path, seen, payloadSize(wanted, header));
      if (volsize === wanted) return seen;
      await dataset.enlarge(wanted);
      const now = await this.guestSize(volume, header);
      if (now === payloadSize(wanted, header)) return now;
      throw volumeNotGrown(path, `ZFS enlarged it to ${wanted} bytes, and its device does not have them`);
    });
  }

  async allocate({ volume, guestSize, pool }: AllocateRequest): Promise<bigint> {
    const dataset = this.dataset(volume);
    refuseOtherPool(dataset, pool);
    await this.requireNoDevice(dataset);
    await dataset.create(guestSize + BigInt(PAYLOAD_OFFSET));
    try {
      return await this.sizeWhenThere(dataset);
    } catch (thrown) {
      throw await afterRemoval(dataset, thrown);
    }
  }

  /** Nothing was ever written to a dataset that is new, which no allocation map tells, and reading all of it would take. */
  async allocateEncrypted(request: AllocateRequest & FormatRequest): Promise<LuksHeader> {
    await this.allocate(request);
    try {
      await using zvol = await this.openZvol(request.volume, "read-write");
      return await this.format.runOnNew(zvol, request);
    } catch (thrown) {
      throw await afterRemoval(this.dataset(request.volume), thrown);
    }
  }

  /** A link to the device of a volume that had this name is removed by udev in its own time. */
  private async requireNoDevice(dataset: ZfsDataset): Promise<void> {
    const { path } = dataset;
    if ((await blockDeviceAt(path)) === "absent") return;
    if (await dataset.isThere()) throw volumeExists(path);
    for (let waited = 0; waited < this.patience; waited += PAUSE) {
      if ((await blockDeviceAt(path)) === "absent") return;
      await setTimeout(PAUSE);
    }
    throw volumeNotAllocated(path, `a device of this name is there, and was ${this.patience / 1000} s later`);
  }

  /** Bytes of a new volume, as soon as it has its device. @throws VOLUME_ALLOCATE_FAILED, VOLUME_UNREADABLE */
  private async sizeWhenThere(dataset: ZfsDataset): Promise<bigint> {
    const { volsize } = await dataset.sizes();
    for (let waited = 0; waited < this.patience; waited += PAUSE) {
      // a link that was left of another volume leads to its device
      if ((await deviceSize(dataset.path)) === volsize && (await this.isDeviceOf(dataset))) return volsize;
      await setTimeout(PAUSE);
    }
    throw volumeNotAllocated(dataset.path, `it had no device within ${this.patience / 1000} s`);
  }

  /** As the module itself says; true where its helper for udev is not there to ask. */
  private async isDeviceOf({ name, path }: ZfsDataset): Promise<boolean> {
    if (findTool("zvol_id") === undefined) return true;
    const device = await realpath(path).catch(() => path);
    const { exitCode, stdout } = await this.runner.run({ tool: "zvol_id", args: [device], answers: [1] });
    return exitCode === 0 && stdout.trim().replaceAll("+", " ") === name;
  }

  private openZvol(volume: Volume, access: Access): Promise<Zvol> {
    return Zvol.of(this.runner, this.dataset(volume), access);
  }

  /** @throws VOLUME_UNSUPPORTED */
  private dataset(volume: Volume): ZfsDataset {
    const path = devicePath(volume);
    const name = datasetOf(path);
    if (name !== undefined) return new ZfsDataset(this.runner, name, path);
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `cannot use ${path} as a ZFS volume`,
      why: "it is not called /dev/zvol/POOL/…/NAME",
    });
  }
}

async function isWhole(path: string): Promise<boolean> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  return stats === undefined || !existsSync(`/sys/dev/block/${deviceNumber(stats)}/partition`);
}

/** Removes what was just made. @returns the error that led here, saying what is left where that fails as well */
async function afterRemoval(dataset: ZfsDataset, thrown: unknown): Promise<unknown> {
  try {
    await dataset.destroy();
    return thrown;
  } catch (failure) {
    const [{ code, message, why }, { why: left, hint }] = [asLuksmithError(thrown), asLuksmithError(failure)];
    const reasons = [why, `what was made could not be removed again: ${left}`];
    return new LuksmithError(code, {
      what: message,
      why: reasons.filter((reason) => reason !== undefined).join("; "),
      ...(hint === undefined ? {} : { hint }),
      cause: thrown,
    });
  }
}

async function deviceSize(path: string): Promise<bigint | undefined> {
  try {
    await using device = await VolumeFile.open(path, "read", "block device");
    return BigInt(device.size);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return undefined;
    throw thrown;
  }
}

/** @throws VOLUME_UNSUPPORTED */
function refuseOtherPool({ name, path }: ZfsDataset, pool: string | undefined): void {
  const own = name.split("/", 1)[0];
  if (pool === undefined || pool === own) return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot make volume ${path} in pool ${pool}`,
    why: `its name says pool ${own}`,
  });
}
