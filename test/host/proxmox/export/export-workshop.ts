import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProxmoxStorage } from "../../../../src/generated/proxmox-storage.js";
import { baseOf } from "../../../../src/host/proxmox/base/index.js";
import { backendOf } from "../../../../src/host/proxmox/bridge/opened-volume.js";
import { closeExport } from "../../../../src/host/proxmox/export/close-export.js";
import { ExportPlace } from "../../../../src/host/proxmox/export/export-place.js";
import { openExport } from "../../../../src/host/proxmox/export/open-export.js";
import type { OpenResources } from "../../../../src/host/proxmox/export/resources.js";
import { daemonsOf } from "../../../../src/host/proxmox/export/storage-daemon.js";
import { ProxmoxPlaces } from "../../../../src/host/proxmox/places.js";
import { snapshotsOf } from "../../../../src/host/proxmox/snapshot/index.js";
import { FileKeystore } from "../../../../src/keystore/file/file-keystore.js";
import { type KeyUuid, newKeyUuid } from "../../../../src/keystore/key-uuid.js";
import { Keyring } from "../../../../src/keystore/keyring.js";
import { Secret } from "../../../../src/secret/secret.js";
import { createStorageRegistry } from "../../../../src/storage/index.js";
import { canAllocate } from "../../../../src/storage/storage-backend.js";
import { volumeName } from "../../../../src/storage/volume.js";
import { VolumeLocks } from "../../../../src/storage/volume-lock.js";
import { RecordingCommandRunner } from "../../../fake/recording-command-runner.js";
import { DEFAULT_STORAGE } from "../../../storage/default-storage.js";
import { MIB, SPEC } from "../../../storage/workshop.js";

/** A storage of type luksmith with encrypted volumes, and a host of its own to export them on. */
export class ExportWorkshop implements AsyncDisposable {
  readonly storage: ProxmoxStorage;
  readonly runner: RecordingCommandRunner;
  readonly locks: VolumeLocks;
  readonly places: ProxmoxPlaces;
  readonly keystore: FileKeystore;
  readonly registry;

  /**
   * @param base the storage's; a directory without it
   * @param root of another one, which is the same workshop then, perhaps in another process
   */
  constructor(
    base?: ProxmoxStorage["base"],
    readonly root = mkdtempSync(join(tmpdir(), "luksmith-export-")),
    storage = DEFAULT_STORAGE,
  ) {
    const path = join(this.root, "base");
    mkdirSync(path, { mode: 0o700, recursive: true });
    this.runner = new RecordingCommandRunner();
    this.locks = new VolumeLocks(this.runner, join(this.root, "lock"), 20);
    this.places = new ProxmoxPlaces(join(this.root, "host"));
    this.keystore = new FileKeystore({ name: "local", type: "file", directory: join(this.root, "keys") });
    this.storage = { id: "local-luks", base: base ?? { type: "directory", path } };
    this.registry = createStorageRegistry(this.runner, storage, this.locks);
  }

  get resources(): OpenResources {
    const { runner, locks, places, registry: storage, keystore } = this;
    const keyring = new Keyring([{ name: "local", make: () => Promise.resolve(keystore) }]);
    return { runner, locks, places, storage, keyring, base: this.base };
  }

  get base() {
    return baseOf(this.storage, { runner: this.runner, locks: this.locks });
  }

  /** An encrypted volume whose key is in the keystore. */
  async make(name = "vm-100-disk-0", guestSize = 8 * MIB): Promise<KeyUuid> {
    const volume = this.base.volume(name);
    const allocator = backendOf(this.base, this.registry);
    if (!canAllocate(allocator)) throw new Error(`${allocator.type} makes no volumes`);
    const { pool } = this.base as { readonly pool?: string };
    await allocator.allocate({
      volume,
      guestSize: BigInt(guestSize),
      ...(pool === undefined ? {} : { pool }),
    });
    const uuid = newKeyUuid();
    using passphrase = Secret.randomPassphrase();
    await allocator.createEncrypted({ volume, uuid, spec: SPEC, passphrase });
    const { format, cipher, keySize, hash } = SPEC;
    const record = {
      version: 1,
      encryption: { format, cipher, keySize, hash },
      uuid,
      state: "active",
      guest: { id: "100", name: "100" },
      disk: name,
      volume: volumeName(volume),
      createdAt: new Date(0).toISOString(),
    } as const;
    await this.keystore.store({ record, passphrase });
    return uuid;
  }

  name(volume = "vm-100-disk-0", snapshot?: string) {
    return { storage: this.storage, volume, ...(snapshot === undefined ? {} : { snapshot }) };
  }

  place(volume = "vm-100-disk-0", snapshot?: string): ExportPlace {
    return new ExportPlace(this.places, this.name(volume, snapshot));
  }

  open(volume?: string, snapshot?: string): Promise<string> {
    return openExport(this.name(volume, snapshot), this.resources);
  }

  close(volume?: string, snapshot?: string): Promise<void> {
    return closeExport(this.name(volume, snapshot), this.resources);
  }

  /** What this storage can do with snapshots. */
  get snapshots() {
    const snapshots = snapshotsOf(this.base, this.resources);
    if (snapshots === undefined) throw new Error("the storage makes no snapshots");
    return snapshots;
  }

  /** Writes through an export of its own, as `qemu-img` would. */
  async fill(volume: string, byte: number, length = 8192): Promise<void> {
    writeBytes(await this.open(volume), 0, Buffer.alloc(length, byte));
    await this.close(volume);
  }

  /** The first byte that the guest would see, through an export of its own. */
  async first(volume: string, snapshot?: string): Promise<number> {
    const [byte = -1] = readBytes(await this.open(volume, snapshot), 0, 1);
    await this.close(volume, snapshot);
    return byte;
  }

  /** Of the daemon that exports the volume. @throws if there is none, or more than one */
  daemon(volume?: string, snapshot?: string): number {
    const [daemon, ...others] = daemonsOf(this.place(volume, snapshot));
    if (daemon === undefined || others.length > 0) throw new Error("there is not one daemon");
    return daemon.pid;
  }

  /** All files of exports, without their storage. */
  left(): string[] {
    const directories = [this.places.exports, this.places.exportDaemons].map((all) =>
      join(all, this.storage.id),
    );
    return directories.flatMap((directory) => (existsSync(directory) ? readdirSync(directory).sort() : []));
  }

  /** All daemons of this workshop. */
  daemons(): number[] {
    return readdirSync("/proc")
      .filter((name) => /^[0-9]+$/.test(name))
      .filter((pid) => commandLine(pid).includes(this.root) && /storage-daemon/.test(commandLine(pid)))
      .map(Number);
  }

  /** Where volumes are mounted under this workshop. */
  mounts(): string[] {
    return this.allMounts().filter((target) => target.endsWith(".img"));
  }

  private allMounts(): string[] {
    const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    return lines.map((line) => line.split(" ")[4] ?? "").filter((target) => target.startsWith(this.root));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.daemons()) process.kill(pid, "SIGKILL");
    while (this.daemons().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const mount of this.allMounts().reverse()) execFileSync("umount", ["--lazy", "--", mount]);
    rmSync(this.root, { recursive: true, force: true });
  }
}

export function writeBytes(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  try {
    writeSync(fd, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(fd);
  }
}

/** What a program meets that writes there, whether it takes what is there or makes it. @returns the kernel's error */
export function errorOfWriting(path: string): string | undefined {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600));
    return undefined;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code;
  }
}

export function readBytes(path: string, offset: number, length: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
  } finally {
    closeSync(fd);
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}
