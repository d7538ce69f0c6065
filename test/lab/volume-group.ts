import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { removeDevices } from "./device-mapper.js";
import { LoopDevice } from "./loop-device.js";

export interface VolumeGroupOptions {
  /** One of its own without it. */
  readonly name?: string;
  /** Bytes of the loop device that is made for it; 256 MiB without it. Costs memory only where it is written. */
  readonly size?: number;
  /** A block device to be its physical volume instead, which the caller disposes of after the group. */
  readonly device?: string;
  /** Bytes of the thin pool `POOL`; no thin pool without it. */
  readonly thinPool?: number;
  /** Bytes of an extent; 4 MiB without it. */
  readonly extentSize?: number;
}

const MIB = 1024 * 1024;
/** The thin pool's name. */
export const POOL = "pool";

/** An LVM volume group with a name of its own. Needs device-mapper, thus User-Mode Linux. */
export class VolumeGroup implements Disposable {
  readonly name: string;
  readonly #loop: LoopDevice | undefined;
  /** The physical volume. */
  readonly device: string;

  constructor(options: VolumeGroupOptions = {}) {
    this.name = options.name ?? `luksmith${randomBytes(4).toString("hex")}`;
    const { size = 256 * MIB, thinPool, extentSize = 4 * MIB } = options;
    this.#loop = options.device === undefined ? new LoopDevice(size) : undefined;
    this.device = options.device ?? this.#loop!.path;
    lvm("vgcreate", "--quiet", "--physicalextentsize", `${extentSize}b`, this.name, this.device);
    if (thinPool === undefined) return;
    const pool = ["--type=thin-pool", "--size", `${thinPool}b`, "--poolmetadatasize=4m", "--zero=n"];
    lvm("lvcreate", "--quiet", "--yes", ...pool, "--name", POOL, this.name);
  }

  /** `size` in bytes is rounded up to extents. @returns the path of the new, active volume */
  create(name: string, size: number): string {
    const wiping = ["--yes", "--wipesignatures=n", "--zero=n"];
    lvm("lvcreate", "--quiet", ...wiping, "--size", `${size}b`, "--name", name, this.name);
    return this.path(name);
  }

  /** A thin volume that the guest sees as `size` bytes. @returns the path of the new, active volume */
  createThin(name: string, size: number): string {
    lvm("lvcreate", "--quiet", "--thinpool", POOL, "--virtualsize", `${size}b`, "--name", name, this.name);
    return this.path(name);
  }

  path(name: string): string {
    return `/dev/${this.name}/${name}`;
  }

  /** All of its volumes, and the thin pool. */
  deactivate(): void {
    lvm("vgchange", "--quiet", "--activate", "n", this.name);
  }

  /** One field of `lvs` for one volume. */
  field(name: string, field: string): string {
    const columns = ["--noheadings", "--nosuffix", "--units=b", "-o", field];
    return lvm("lvs", ...columns, `${this.name}/${name}`).trim();
  }

  /** Works as well where the physical volume fails by now, which LVM's own commands would not survive. */
  [Symbol.dispose](): void {
    removeDevices(`${this.name.replaceAll("-", "--")}-`);
    rmSync(`/dev/${this.name}`, { recursive: true, force: true });
    this.#loop?.[Symbol.dispose]();
  }
}

/** An LVM command. @throws with what it says when it fails */
export function lvm(command: string, ...args: readonly string[]): string {
  // it would complain about every descriptor that vitest leaves open
  const env = { ...process.env, LVM_SUPPRESS_FD_WARNINGS: "1" };
  return execFileSync(command, args, { encoding: "utf8", env, stdio: "pipe" });
}
