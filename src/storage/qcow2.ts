import type { LuksFormatter } from "../encryption/luks-formatter.js";
import type { LuksHeader } from "../encryption/luks-header.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Secret } from "../secret/secret.js";
import { imagePath, isImageFile, probeFile } from "./image-file.js";
import { tryContainer } from "./qcow2-container.js";
import { Qcow2Format } from "./qcow2-format.js";
import { QCOW2_HEADER_AREA, readQcow2Header } from "./qcow2-header.js";
import { probeQcow2 } from "./qcow2-probe.js";
import type { FormatRequest, Probe, ProbeDepth, QemuNode, StorageBackend } from "./storage-backend.js";
import type { Volume } from "./volume.js";
import { notFormatted, passphraseRejected, volumeUnreadable } from "./volume-error.js";
import { VolumeFile } from "./volume-file.js";
import type { VolumeLocks } from "./volume-lock.js";

/** qcow2 image files, encrypted inside: qcow2's own LUKS, which is what libvirt's encryption block means for them. */
export class Qcow2Backend implements StorageBackend {
  readonly type = "qcow2";
  readonly formats: readonly EncryptionFormat[] = ["luks"];
  private readonly format: Qcow2Format;

  constructor(
    private readonly runner: CommandRunner,
    private readonly formatter: LuksFormatter,
    locks: VolumeLocks,
  ) {
    this.format = new Qcow2Format(runner, formatter, locks);
  }

  accepts(volume: Volume): boolean {
    return isImageFile(volume, "qcow2");
  }

  async probe(volume: Volume, depth: ProbeDepth): Promise<Probe> {
    return probeFile(imagePath(volume, "qcow2"), async (file) => {
      const probe = await probeQcow2(this.runner, file, depth);
      if (probe.kind === "empty") return { kind: "empty" };
      return probe.kind === "luks" ? { kind: "luks", header: probe.header } : probe;
    });
  }

  async createEncrypted(request: FormatRequest): Promise<LuksHeader> {
    return this.format.run(imagePath(request.volume, "qcow2"), request);
  }

  async testPassphrase(volume: Volume, passphrase: Secret): Promise<void> {
    const path = imagePath(volume, "qcow2");
    await using file = await VolumeFile.open(path, "read");
    const probe = await probeQcow2(this.runner, file, "header");
    if (probe.kind !== "luks") throw notFormatted(path, probe);
    if ((await tryContainer(this.formatter, file, probe, passphrase)) === "rejected")
      throw passphraseRejected(path);
  }

  qemuNode(volume: Volume, secretId: string): QemuNode {
    const filename = imagePath(volume, "qcow2");
    const encrypt = { format: "luks", "key-secret": secretId };
    return { driver: "qcow2", encrypt, file: { driver: "file", filename } };
  }

  /** The whole virtual size: the LUKS header has clusters of its own. */
  async guestSize(volume: Volume): Promise<bigint> {
    const path = imagePath(volume, "qcow2");
    await using file = await VolumeFile.open(path, "read");
    const image = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
    if (image.kind !== "qcow2") throw volumeUnreadable(path, "it is not a qcow2 image that can be read");
    return BigInt(image.header.size);
  }
}
