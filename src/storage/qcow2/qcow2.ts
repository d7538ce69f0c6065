import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import type { LuksHeader } from "../../encryption/luks-header.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Tool } from "../../exec/tools.js";
import type { Secret } from "../../secret/secret.js";
import { allocateFile } from "../file-allocation.js";
import { lockImage } from "../image-lock.js";
import { imagePath, isImageFile, probeFile } from "../image-file.js";
import {
  changeAlone,
  type HeaderChange,
  type HeaderUsers,
  readContainerHeader,
  writeContainerHeader,
} from "../container-header.js";
import { tryContainer } from "../luks-container.js";
import { containerOf } from "./qcow2-container.js";
import { holdEntry } from "./qcow2-entry.js";
import { Qcow2Format } from "./qcow2-format.js";
import { growQcow2 } from "./qcow2-grow.js";
import { QCOW2_HEADER_AREA, readQcow2Header } from "./qcow2-header.js";
import { probeQcow2, QCOW2_FORMATS } from "./qcow2-probe.js";
import { wholeSectors } from "../sectors.js";
import type {
  AllocateRequest,
  FormatRequest,
  GrowRequest,
  Probe,
  ProbeDepth,
  QemuNode,
  StorageBackend,
  VolumeAllocator,
} from "../storage-backend.js";
import type { Volume } from "../volume.js";
import { notFormatted, passphraseRejected, refuseFormat, volumeUnreadable } from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/** qcow2 image files, encrypted inside: qcow2's own LUKS, which is what libvirt's encryption block means for them. */
export class Qcow2Backend implements StorageBackend, VolumeAllocator {
  readonly type = "qcow2";
  readonly formats = QCOW2_FORMATS;
  readonly tools: readonly Tool[] = [];
  private readonly format: Qcow2Format;

  constructor(
    private readonly runner: CommandRunner,
    private readonly formatter: LuksFormatter,
    private readonly locks: VolumeLocks,
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
    const path = imagePath(request.volume, "qcow2");
    refuseFormat(path, this, request.spec.format);
    return this.format.run(path, request);
  }

  async testPassphrase(volume: Volume, passphrase: Secret): Promise<void> {
    const path = imagePath(volume, "qcow2");
    await using file = await VolumeFile.open(path, "read");
    const probe = await probeQcow2(this.runner, file, "header");
    if (probe.kind !== "luks") throw notFormatted(path, probe);
    if ((await tryContainer(this.formatter, file, probe.header, passphrase, probe.container)) === "rejected")
      throw passphraseRejected(path);
  }

  async readHeader(volume: Volume): Promise<Buffer> {
    const path = imagePath(volume, "qcow2");
    await using file = await VolumeFile.open(path, "read");
    const probe = await probeQcow2(this.runner, file, "header");
    if (probe.kind !== "luks") throw notFormatted(path, probe);
    return await readContainerHeader(file, probe.header, path, probe.container);
  }

  /** In place and never through QEMU: the container's clusters are no guest's, and stay where they are. */
  async changeHeader(
    volume: Volume,
    length: number,
    change: HeaderChange,
    users: HeaderUsers = "admitted",
  ): Promise<void> {
    await holdEntry(this.locks, imagePath(volume, "qcow2"), async (path, volumeLock) => {
      await using file = await VolumeFile.open(path, "read-write");
      const start = await containerOf(file, length);
      if (users === "admitted") {
        await writeContainerHeader(file, { start, length }, change);
        return;
      }
      const lock = () => lockImage(this.runner, file, volumeLock);
      await changeAlone(path, lock, (alone) => writeContainerHeader(file, { start, length }, alone(change)));
    });
  }

  /** QEMU opens an overlay's base by itself; an encrypted one takes that volume's own node as `backing`. */
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

  async grow(request: GrowRequest): Promise<bigint> {
    return growQcow2(imagePath(request.volume, "qcow2"), request, { runner: this.runner, locks: this.locks });
  }

  /** With QEMU's own defaults. @returns what the guest sees: the file grows as it is written */
  async allocate({ volume, guestSize }: AllocateRequest): Promise<bigint> {
    const size = wholeSectors(guestSize);
    await allocateFile(imagePath(volume, "qcow2"), async ({ fd }) => {
      const args = ["create", "-q", "-f", "qcow2", "--", "/proc/self/fd/3", String(size)];
      await this.runner.run({ tool: "qemu-img", args, fds: [fd] });
    });
    return size;
  }
}
