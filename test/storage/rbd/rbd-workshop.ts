import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StorageSettings } from "../../../src/storage/index.js";
import type { QemuNode, StorageBackend } from "../../../src/storage/storage-backend.js";
import type { RbdVolume } from "../../../src/storage/volume.js";
import type { StorageFixture } from "../../contract/storage-fixture.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import type { CephCluster, CephUser } from "../../lab/ceph-cluster.js";
import { DEFAULT_STORAGE } from "../default-storage.js";
import { qemuIo } from "../qemu.js";
import { makeBackend, MIB } from "../workshop.js";

const POOL = "rbd";
const MAY_USE = { mon: "profile rbd", osd: "profile rbd" };
/** QEMU opens every image for writing; this keeps it from writing the guest's bytes. */
const MAY_OPEN = {
  mon: "profile rbd",
  osd: "allow rx, allow rwx object_prefix rbd_header, allow rwx object_prefix rbd_object_map",
};
const MAY_NOTHING = { mon: "profile rbd" };

/** A namespace of a real cluster for the images of one test, and a cephx user whose rights can be taken away. */
export class RbdWorkshop implements StorageFixture {
  readonly root = mkdtempSync(join(tmpdir(), "luksmith-rbd-"));
  readonly lockDirectory = join(this.root, "lock");
  readonly runner = new RecordingCommandRunner();
  readonly settings: StorageSettings;
  readonly backend: StorageBackend;
  readonly hostileNames: readonly string[] = [
    `a,b=c:d -e 'f"`,
    "--rf",
    "$(id)`id`;&|s",
    "json:{}",
    "ключ 🔑",
    "back\\slash",
  ];
  readonly extent = 512;
  /** Each step is a process that joins the cluster. */
  readonly killStride = 5;
  readonly unwritten = "empty";

  private constructor(
    readonly cluster: CephCluster,
    readonly namespace: string,
    readonly user: CephUser,
    engine: "qemu" | "librbd",
  ) {
    const rbd = { ...DEFAULT_STORAGE.rbd, user: user.id, conf: cluster.conf, engine };
    this.settings = { ...DEFAULT_STORAGE, rbd };
    this.backend = this.another();
  }

  static async make(cluster: CephCluster, engine: "qemu" | "librbd" = "qemu"): Promise<RbdWorkshop> {
    const namespace = `test-${Math.random().toString(36).slice(2)}`;
    await cluster.rbd("namespace", "create", `--pool=${POOL}`, `--namespace=${namespace}`);
    return new RbdWorkshop(cluster, namespace, await cluster.user(namespace, MAY_USE), engine);
  }

  another(): StorageBackend {
    return makeBackend("rbd", this.runner, this.lockDirectory, this.settings);
  }

  async makeEmpty(name: string, size = 8 * MIB): Promise<RbdVolume> {
    const volume = this.volume(name);
    await this.rbd(volume, "create", `--size=${size}B`);
    return volume;
  }

  volume(image: string): RbdVolume {
    return { kind: "rbd", pool: POOL, namespace: this.namespace, image, format: "raw" };
  }

  absent(): RbdVolume {
    return this.volume("missing");
  }

  plainNode({ pool, namespace = "", image }: RbdVolume): QemuNode {
    const { conf } = this.cluster;
    return { driver: "raw", file: { driver: "rbd", pool, namespace, image, conf, user: this.user.id } };
  }

  writeData(volume: RbdVolume, offset: number): void {
    qemuIo(this.plainNode(volume), [`write -P 0x5a ${offset} 512`]);
  }

  async bytes(volume: RbdVolume): Promise<Buffer> {
    const copy = join(this.root, "export");
    await this.rbd(volume, "export", `--path=${copy}`, "--no-progress");
    const bytes = readFileSync(copy);
    rmSync(copy);
    return bytes;
  }

  async state(): Promise<unknown> {
    const names = await this.cluster.rbd(
      "ls",
      "--format=json",
      `--pool=${POOL}`,
      `--namespace=${this.namespace}`,
    );
    const images: [string, string][] = [];
    for (const name of (JSON.parse(names) as string[]).sort()) {
      const bytes = await this.bytes(this.volume(name));
      images.push([name, createHash("sha256").update(bytes).digest("hex")]);
    }
    return images;
  }

  /** Ceph does not remove an image that somebody has open; under another name it is as far away. */
  async remove(volume: RbdVolume): Promise<void> {
    const { pool, namespace = "", image } = volume;
    const there = [`--dest-pool=${pool}`, `--dest-namespace=${namespace}`, `--dest=removed ${image}`];
    await this.rbd(volume, "rename", ...there);
  }

  async replace(volume: RbdVolume): Promise<void> {
    await this.remove(volume);
    await this.makeEmpty(volume.image);
  }

  /** QEMU and Luksmith enlarge images themselves. */
  enlarge(): void {
    return undefined;
  }

  breakReading(): Promise<AsyncDisposable> {
    return this.withRights(MAY_NOTHING);
  }

  breakWriting(): Promise<AsyncDisposable> {
    return this.withRights(MAY_OPEN);
  }

  rbd({ pool, namespace, image }: RbdVolume, ...command: readonly string[]): Promise<string> {
    const where = [`--pool=${pool}`, `--namespace=${namespace ?? ""}`, `--image=${image}`];
    return this.cluster.rbd(...command, ...where);
  }

  private async withRights(rights: Readonly<Record<string, string>>): Promise<AsyncDisposable> {
    await this.setRights(rights);
    return { [Symbol.asyncDispose]: () => this.setRights(MAY_USE) };
  }

  private async setRights(rights: Readonly<Record<string, string>>): Promise<void> {
    await this.cluster.ceph("auth", "caps", `client.${this.user.id}`, ...Object.entries(rights).flat());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.root, { recursive: true });
    await Promise.resolve();
  }
}
