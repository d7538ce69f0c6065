import type { LuksFormatter } from "../encryption/luks-formatter.js";
import type { LuksHeader } from "../encryption/luks-header.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Secret } from "../secret/secret.js";
import { imagePath, isImageFile, probeFile } from "./image-file.js";
import { RawFormat } from "./raw-format.js";
import { probeRaw } from "./raw-probe.js";
import type { FormatRequest, Probe, ProbeDepth, QemuNode, StorageBackend } from "./storage-backend.js";
import type { Volume } from "./volume.js";
import { notFormatted, passphraseRejected } from "./volume-error.js";
import { VolumeFile } from "./volume-file.js";
import type { VolumeLocks } from "./volume-lock.js";

const SECTOR = 512n;

/** Raw image files: the LUKS header stands at the file's start, and the guest's disk is what comes after it. */
export class RawBackend implements StorageBackend {
  readonly type = "raw";
  readonly formats: readonly EncryptionFormat[] = ["luks"];
  private readonly format: RawFormat;

  constructor(
    private readonly runner: CommandRunner,
    private readonly formatter: LuksFormatter,
    locks: VolumeLocks,
  ) {
    this.format = new RawFormat(runner, formatter, locks);
  }

  accepts(volume: Volume): boolean {
    return isImageFile(volume, "raw");
  }

  async probe(volume: Volume, depth: ProbeDepth): Promise<Probe> {
    return probeFile(imagePath(volume, "raw"), (file) => probeRaw(this.runner, file, depth));
  }

  async createEncrypted(request: FormatRequest): Promise<LuksHeader> {
    return this.format.run(imagePath(request.volume, "raw"), request);
  }

  async testPassphrase(volume: Volume, passphrase: Secret): Promise<void> {
    const path = imagePath(volume, "raw");
    await using file = await VolumeFile.open(path, "read");
    const probe = await probeRaw(this.runner, file, "header");
    if (probe.kind !== "luks") throw notFormatted(path, probe);
    if ((await this.formatter.tryPassphrase(file.fd, passphrase)) === "rejected")
      throw passphraseRejected(path);
  }

  qemuNode(volume: Volume, secretId: string): QemuNode {
    const filename = imagePath(volume, "raw");
    return { driver: "luks", "key-secret": secretId, file: { driver: "file", filename } };
  }

  /** QEMU counts a last sector that the file has only begun as a whole one. */
  async guestSize(volume: Volume, { payloadOffset }: LuksHeader): Promise<bigint> {
    await using file = await VolumeFile.open(imagePath(volume, "raw"), "read");
    const sectors = (file.stats.size + SECTOR - 1n) / SECTOR;
    return sectors * SECTOR - BigInt(payloadOffset);
  }
}
