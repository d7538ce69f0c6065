import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Tool } from "../../exec/tools.js";
import { RawLuksBackend } from "../raw-luks/raw-luks-backend.js";
import type { RawVolume } from "../raw-luks/raw-volume.js";
import { PATIENCE, RbdClient } from "./rbd-client.js";
import { librbdRefused, librbdVersion, parentRefused, whyNotLibrbd } from "./rbd-engine.js";
import { RbdImage } from "./rbd-image.js";
import { wholeSectors } from "../sectors.js";
import type {
  AllocateRequest,
  Engine,
  EngineChooser,
  EngineVersions,
  GrowRequest,
  Probe,
  ProbeDepth,
  QemuNode,
  VolumeAllocator,
} from "../storage-backend.js";
import { type RbdVolume, type Volume, volumeName } from "../volume.js";
import { refuseShrinking, volumeExists, volumeNotAllocated, volumeNotGrown } from "../volume-error.js";
import type { VolumeLocks } from "../volume-lock.js";

export interface RbdSettings {
  readonly user: string;
  readonly conf: string;
  readonly engine: "qemu" | "librbd";
}

/** RBD images of a Ceph cluster, through QEMU's rbd driver and the rbd program; the kernel maps none of them. */
export class RbdBackend extends RawLuksBackend implements VolumeAllocator, EngineChooser {
  readonly type = "rbd";
  override readonly formats: readonly EncryptionFormat[] = ["luks"];
  override readonly tools: readonly Tool[] = ["rbd"];

  /** @param patience seconds that a cluster may take to answer; shorter in tests */
  constructor(
    runner: CommandRunner,
    formatter: LuksFormatter,
    locks: VolumeLocks,
    private readonly settings: RbdSettings,
    private readonly patience = PATIENCE,
  ) {
    super(runner, formatter, locks);
  }

  async chooseEngine(volume: Volume, versions: () => Promise<EngineVersions>): Promise<Engine | undefined> {
    if (this.settings.engine === "qemu") return undefined;
    const client = this.client(volume);
    const why = whyNotLibrbd({ ...(await versions()), librbd: await librbdVersion(this.runner) });
    if (why !== undefined) throw librbdRefused(client.name, why);
    if ((await client.info()).parent !== undefined) throw parentRefused(client.name);
    return "librbd";
  }

  async refusedEngine(volume: Volume): Promise<LuksmithError | undefined> {
    const client = this.client(volume);
    try {
      return (await client.info()).parent === undefined ? undefined : parentRefused(client.name);
    } catch (thrown) {
      if (thrown instanceof LuksmithError) return undefined;
      throw thrown;
    }
  }

  accepts(volume: Volume): boolean {
    return volume.kind === "rbd" && volume.format === "raw";
  }

  /** Guests with plain RBD disks run on hosts that have only QEMU's driver: there, nobody can look. */
  override async probe(volume: Volume, depth: ProbeDepth): Promise<Probe> {
    try {
      return await super.probe(volume, depth);
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code !== "TOOL_MISSING") throw thrown;
      return { kind: "unreadable", reason: `${thrown.message}: ${thrown.hint ?? ""}` };
    }
  }

  protected async open(volume: Volume): Promise<RawVolume> {
    return RbdImage.open(this.runner, this.client(volume));
  }

  qemuNode(volume: Volume, secretId: string): QemuNode {
    const image = this.client(volume).node();
    switch (this.settings.engine) {
      case "qemu":
        return { driver: "luks", "key-secret": secretId, file: image };
      case "librbd": {
        const encrypt = { format: "luks", "key-secret": secretId };
        return { driver: "raw", file: { ...image, encrypt } };
      }
    }
  }

  async grow({ volume, header, guestSize: asked, guest }: GrowRequest): Promise<bigint> {
    const client = this.client(volume);
    const guestSize = wholeSectors(asked);
    const payloadOffset = BigInt(header.payloadOffset);
    const size = BigInt((await client.info()).size);
    refuseShrinking(client.name, size - payloadOffset, guestSize);
    const wanted = guestSize + payloadOffset;
    if (guest === "running" || size === wanted) return guestSize;
    await client
      .run("resize", "--no-progress", `--size=${wanted}B`)
      .catch(whyIn(volumeNotGrown, client.name));
    return guestSize;
  }

  async allocate({ volume, guestSize }: AllocateRequest): Promise<bigint> {
    const client = this.client(volume);
    const size = wholeSectors(guestSize) + BigInt(PAYLOAD_OFFSET);
    if (!(await client.create(size).catch(whyIn(volumeNotAllocated, client.name))))
      throw volumeExists(client.name);
    return size;
  }

  private client(volume: Volume): RbdClient {
    return new RbdClient(this.runner, rbdVolume(volume), this.settings, this.patience);
  }
}

/** @throws VOLUME_UNSUPPORTED */
function rbdVolume(volume: Volume): RbdVolume {
  if (volume.kind === "rbd" && volume.format === "raw") return volume;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot use ${volumeName(volume)} as an RBD image`,
    why: volume.kind === "rbd" ? "its image format is not raw" : "it is none",
  });
}

/** Turns the failure of a tool into an error about the volume. */
function whyIn(
  error: (name: string, why: string) => LuksmithError,
  name: string,
): (thrown: unknown) => never {
  return (thrown) => {
    if (!(thrown instanceof LuksmithError) || thrown.code === "TOOL_MISSING") throw thrown;
    throw error(name, thrown.why ?? thrown.message);
  };
}
