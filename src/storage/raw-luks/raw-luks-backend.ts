import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import type { LuksHeader } from "../../encryption/luks-header.js";
import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Tool } from "../../exec/tools.js";
import type { Secret } from "../../secret/secret.js";
import {
  changeAlone,
  type HeaderChange,
  type HeaderUsers,
  readContainerHeader,
  writeContainerHeader,
} from "../container-header.js";
import { tryContainer } from "../luks-container.js";
import { probeOpened } from "../probe-opened.js";
import { RawFormat } from "./raw-format.js";
import { probeRaw } from "./raw-probe.js";
import type { RawVolume } from "./raw-volume.js";
import { payloadSize } from "../sectors.js";
import type {
  EmptinessProver,
  FormatRequest,
  GrowRequest,
  Probe,
  ProbeDepth,
  QemuNode,
  StorageBackend,
} from "../storage-backend.js";
import { type Volume, volumeName } from "../volume.js";
import { notFormatted, passphraseRejected, refuseFormat } from "../volume-error.js";
import type { Access } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/**
 * What storage backends of raw volumes have in common: the LUKS header stands at the volume's start, and the guest's
 * disk is what comes after it. A backend says which volumes are its own, how they are opened, and how they grow.
 */
export abstract class RawLuksBackend implements StorageBackend, EmptinessProver {
  abstract readonly type: string;
  /** Both versions of LUKS where the kernel reaches the volume too, since QEMU opens only the first. */
  readonly formats: readonly EncryptionFormat[] = ["luks", "luksv2"];
  readonly tools: readonly Tool[] = [];

  constructor(
    protected readonly runner: CommandRunner,
    protected readonly formatter: LuksFormatter,
    protected readonly locks: VolumeLocks,
  ) {}

  abstract accepts(volume: Volume): boolean | Promise<boolean>;
  abstract qemuNode(volume: Volume, secretId: string): QemuNode;
  abstract grow(request: GrowRequest): Promise<bigint>;

  /**
   * Opens the volume, and makes it reachable for as long as it is open where that needs more.
   * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_UNSUPPORTED (a volume of another kind), and, for writing,
   *   VOLUME_WRITE_FAILED, VOLUME_BUSY
   */
  protected abstract open(volume: Volume, access: Access): Promise<RawVolume>;

  probe(volume: Volume, depth: ProbeDepth): Promise<Probe> {
    return probeOpened(
      () => this.open(volume, "read"),
      (raw) => probeRaw(raw, { depth, formats: this.formats }),
    );
  }

  async createEncrypted(request: FormatRequest): Promise<LuksHeader> {
    refuseFormat(volumeName(request.volume), this, request.spec.format);
    await using raw = await this.open(request.volume, "read-write");
    return await this.format.run(raw, request);
  }

  async requireEmpty(volume: Volume): Promise<void> {
    await using raw = await this.open(volume, "read-write");
    await this.format.requireEmpty(raw);
  }

  async testPassphrase(volume: Volume, passphrase: Secret): Promise<void> {
    await using raw = await this.open(volume, "read");
    const name = volumeName(volume);
    const probe = await probeRaw(raw, { depth: "header", formats: this.formats });
    if (probe.kind !== "luks") throw notFormatted(name, probe);
    const answer = await tryContainer(this.formatter, raw, probe.header, passphrase);
    if (answer === "rejected") throw passphraseRejected(name);
  }

  async readHeader(volume: Volume): Promise<Buffer> {
    await using raw = await this.open(volume, "read");
    const probe = await probeRaw(raw, { depth: "header", formats: this.formats });
    if (probe.kind !== "luks") throw notFormatted(volumeName(volume), probe);
    return await readContainerHeader(raw, probe.header, volumeName(volume));
  }

  async changeHeader(
    volume: Volume,
    length: number,
    change: HeaderChange,
    users: HeaderUsers = "admitted",
  ): Promise<void> {
    await using raw = await this.open(volume, "read-write");
    await this.locks.hold(raw.identity, async (volumeLock) => {
      if (users === "excluded") {
        const lock = () => raw.lock(volumeLock);
        await changeAlone(raw.name, lock, (alone) =>
          writeContainerHeader(raw, { start: 0, length }, alone(change)),
        );
        return;
      }
      const shared = await raw.share(volumeLock);
      try {
        await writeContainerHeader(raw, { start: 0, length }, change);
      } finally {
        await shared[Symbol.asyncDispose]();
      }
    });
  }

  async guestSize(volume: Volume, header: LuksHeader): Promise<bigint> {
    await using raw = await this.open(volume, "read");
    return payloadSize(BigInt(raw.size), header);
  }

  protected get format(): RawFormat {
    return new RawFormat(this.formatter, this.locks, this.formats);
  }
}
