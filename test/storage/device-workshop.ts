import { createHash } from "node:crypto";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { QemuNode, StorageBackend } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import type { StorageFixture } from "../contract/storage-fixture.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { DmDevice, type Target } from "../lab/device-mapper.js";
import { LoopDevice } from "../lab/loop-device.js";
import { DEFAULT_STORAGE } from "./default-storage.js";
import { qemuIo } from "./qemu.js";
import { makeBackend, MIB } from "./workshop.js";

export type BlockVolume = Extract<Volume, { kind: "block" }>;

/** A device that stands for a disk, a LUN or a zvol: what it does with its sectors can be changed under its users. */
export class Device implements Disposable {
  readonly #loop: LoopDevice;
  readonly #mapping: DmDevice;
  #size: number;

  /** `room`: how large it may become, in bytes. */
  constructor(size: number, room = 2 * size) {
    this.#size = size;
    this.#loop = new LoopDevice(room);
    this.#mapping = new DmDevice(this.#sound());
  }

  get path(): string {
    return this.#mapping.path;
  }

  /** Its sectors from `offset` on, in place of what they were. */
  become(...targets: readonly Target[]): void {
    this.#mapping.become(...targets);
  }

  heal(): void {
    this.become(this.#sound());
  }

  enlarge(size: number): void {
    this.#size = size;
    this.heal();
  }

  get size(): number {
    return this.#size;
  }

  /** The device under it, which is sound whatever this one does. */
  get underlying(): string {
    return this.#loop.path;
  }

  /** What the medium holds, whatever the device shows of it. */
  content(): Buffer {
    return readFileSync(this.#loop.file);
  }

  writeContent(offset: number, bytes: Buffer): void {
    const fd = openSync(this.#loop.file, "r+");
    writeSync(fd, bytes, 0, bytes.length, offset);
    closeSync(fd);
  }

  #sound(): Target {
    return { kind: "linear", size: this.#size, device: this.#loop.path };
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
    this.#loop[Symbol.dispose]();
  }
}

/** Devices under names that are symbolic links, as udev makes them, with the storage backend `block` on them. */
export class DeviceWorkshop implements StorageFixture {
  readonly root = mkdtempSync(join(tmpdir(), "luksmith-device-"));
  readonly lockDirectory = join(this.root, "lock");
  readonly settings = DEFAULT_STORAGE;
  readonly runner = new RecordingCommandRunner();
  readonly backend: StorageBackend;
  readonly pool?: string;
  readonly hostileNames: readonly string[] = [
    `a,b=c:d -e 'f"`,
    "-rf",
    "$(id)`id`;&|%s",
    "json:{}",
    "ключ 🔑",
    "back\\slash",
  ];
  readonly extent: number = 512;
  readonly killStride: number = 2;
  readonly unwritten = "allocated";
  readonly #devices = new Map<string, Device>();

  constructor(
    readonly type = "block",
    readonly directory = mkdtempSync(join(tmpdir(), "luksmith-by-id-")),
  ) {
    this.backend = this.another();
  }

  another(): StorageBackend {
    return makeBackend(this.type, this.runner, this.lockDirectory);
  }

  makeEmpty(name: string, size = 8 * MIB): BlockVolume {
    const path = join(this.directory, name);
    this.#add(path, size);
    return { kind: "block", path, format: "raw" };
  }

  absent(): BlockVolume {
    return { kind: "block", path: join(this.directory, "missing"), format: "raw" };
  }

  device({ path }: BlockVolume): Device {
    const device = this.#devices.get(path);
    if (device === undefined) throw new Error(`no device ${path}`);
    return device;
  }

  plainNode({ path }: BlockVolume): QemuNode {
    return { driver: "raw", file: { driver: "host_device", filename: path } };
  }

  writeData(volume: BlockVolume, offset: number, locking: "on" | "off" = "on"): void {
    const node = { driver: "raw", file: { driver: "host_device", filename: volume.path, locking } };
    qemuIo(node, [`write -P 0x5a ${offset} 512`]);
  }

  bytes({ path }: BlockVolume): Buffer {
    return readFileSync(path);
  }

  state(): unknown {
    return readdirSync(this.directory)
      .sort()
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(this.directory, name)))
          .digest("hex"),
      ]);
  }

  /** As a disk that is pulled: its name goes, and whoever has it open gets errors. */
  remove({ path }: BlockVolume): void {
    const device = this.device({ kind: "block", path, format: "raw" });
    device.become({ kind: "error", size: device.size });
    this.detach(path, device);
    this.#devices.set(`${path} (removed)`, device);
    this.#devices.delete(path);
  }

  replace(volume: BlockVolume): void {
    const device = this.device(volume);
    this.detach(volume.path, device);
    this.#devices.set(`${volume.path} (replaced)`, device);
    this.#add(volume.path, 8 * MIB);
  }

  enlarge(volume: BlockVolume, guestSize: bigint): void {
    this.device(volume).enlarge(Number(guestSize) + 2 * MIB);
  }

  breakReading(volume: BlockVolume): AsyncDisposable {
    const device = this.device(volume);
    device.become({ kind: "error", size: device.size });
    return healing(device);
  }

  breakWriting(volume: BlockVolume): AsyncDisposable {
    const device = this.device(volume);
    const { size, underlying } = device;
    device.become({
      kind: "flakey",
      size,
      device: underlying,
      up: 0,
      down: 1000,
      features: ["error_writes"],
    });
    return healing(device);
  }

  #add(path: string, size: number): void {
    const device = new Device(size);
    this.#devices.set(path, device);
    this.attach(path, device);
  }

  /** Gives a device a name. */
  protected attach(path: string, device: Device): void {
    symlinkSync(device.path, path);
  }

  /** Takes the name from a device, which is still there. */
  protected detach(path: string, device: Device): void {
    if (readlinkSync(path) !== device.path) throw new Error(`${path} is not the name of ${device.path}`);
    rmSync(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.#devices.values()) device[Symbol.dispose]();
    for (const directory of [this.root, this.directory]) rmSync(directory, { recursive: true, force: true });
    await Promise.resolve();
  }
}

function healing(device: Device): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      device.heal();
      await Promise.resolve();
    },
  };
}
