import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { QemuNode, StorageBackend } from "../../../src/storage/storage-backend.js";
import type { StorageFixture } from "../../contract/storage-fixture.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { DmTable } from "../../lab/dm-table.js";
import { lvm, POOL, type VolumeGroup } from "../../lab/volume-group.js";
import { DEFAULT_STORAGE } from "../default-storage.js";
import type { BlockVolume } from "../device-workshop.js";
import { qemuIo, run } from "../qemu.js";
import { makeBackend, MIB } from "../workshop.js";

export type LvmType = "lvm" | "lvm-thin";

/** Logical volumes of a group that all tests of a file share, thick or thin, with their storage backend on them. */
export class LvmWorkshop implements StorageFixture {
  readonly root = mkdtempSync(join(tmpdir(), "luksmith-lvm-"));
  readonly lockDirectory = join(this.root, "lock");
  readonly settings = DEFAULT_STORAGE;
  readonly runner = new RecordingCommandRunner();
  readonly backend: StorageBackend;
  readonly hostileNames: readonly string[] = ["a--b-", "_x.y+z", "n".repeat(100)];
  readonly extent = 4 * MIB;
  readonly killStride = 6;
  readonly unwritten: "empty" | "allocated";
  readonly pool?: string;
  /** Changes that must be taken back before LVM can remove what they are under. */
  readonly #changes: AsyncDisposable[] = [];

  constructor(
    readonly group: VolumeGroup,
    readonly type: LvmType,
  ) {
    this.backend = this.another();
    this.unwritten = type === "lvm" ? "allocated" : "empty";
    if (type === "lvm-thin") this.pool = POOL;
  }

  another(): StorageBackend {
    return makeBackend(this.type, this.runner, this.lockDirectory);
  }

  /** The path that it has, or will have. */
  volume(name: string): BlockVolume {
    return { kind: "block", path: this.group.path(name), format: "raw" };
  }

  makeEmpty(name: string, size = 8 * MIB): BlockVolume {
    if (this.type === "lvm") {
      // its extents may have been another test's
      writeFileSync(this.group.create(name, size), Buffer.alloc(size), { flag: "r+", flush: true });
    } else {
      this.group.createThin(name, size);
    }
    return this.volume(name);
  }

  absent(): BlockVolume {
    return this.volume("missing");
  }

  plainNode({ path }: BlockVolume): QemuNode {
    return { driver: "raw", file: { driver: "host_device", filename: path } };
  }

  writeData({ path }: BlockVolume, offset: number, locking: "on" | "off" = "on"): void {
    const node = { driver: "raw", file: { driver: "host_device", filename: path, locking } };
    qemuIo(node, [`write -P 0x5a ${offset} 512`]);
  }

  bytes({ path }: BlockVolume): Buffer {
    return readFileSync(path);
  }

  /** What LVM has, what device-mapper has, and the bytes of what can be read. */
  state(): unknown {
    const columns = ["--noheadings", "-o", "lv_name,lv_size,lv_active,lv_attr", "--separator", ":"];
    const volumes = lvm("lvs", ...columns, this.group.name)
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith(`${POOL}:`));
    return { devices: this.devices(), volumes: volumes.map((line) => [line, this.#hash(line)]) };
  }

  /** Names of the group's devices in device-mapper. */
  devices(): string[] {
    const names = run("dmsetup", ["info", "-c", "--noheadings", "-o", "name"]).trim().split("\n");
    return names.filter((name) => name.startsWith(`${this.group.name.replaceAll("-", "--")}-`)).sort();
  }

  #hash(line: string): string | undefined {
    const path = this.group.path(line.split(":")[0]!);
    return existsSync(path) ? createHash("sha256").update(readFileSync(path)).digest("hex") : undefined;
  }

  /** As when the disks below are pulled: its names go, and whoever has it open gets errors. */
  remove({ path }: BlockVolume): void {
    const table = new DmTable(path);
    if (!table.isOpen) {
      lvm("lvremove", "--quiet", "--yes", path);
      return;
    }
    this.#until(table.become(failing));
    rmSync(path);
    rmSync(`/dev/mapper/${table.name}`);
  }

  replace({ path }: BlockVolume): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    lvm("lvrename", "--quiet", this.group.name, name, `${name}.replaced`);
    this.makeEmpty(name);
  }

  /** Luksmith enlarges logical volumes itself. */
  enlarge(): void {
    return undefined;
  }

  breakReading({ path }: BlockVolume): AsyncDisposable {
    return this.#until(new DmTable(path).become(failing));
  }

  breakWriting({ path }: BlockVolume): AsyncDisposable {
    const table = new DmTable(path);
    const flakey = (device: string) => `flakey ${device} 0 1000 1 error_writes`;
    if (this.type === "lvm")
      return this.#until(table.become((line) => line.replace(/linear (.*)$/, flakey("$1"))));
    // what was the volume becomes a layer below it, as where it has a snapshot of the old kind
    const below = table.addLayer("real");
    const changed = table.become((line) => line.replace(/thin .*$/, flakey(`${below} 0`)));
    return this.#until({
      [Symbol.asyncDispose]: async () => {
        if (!existsSync(below)) return;
        await changed[Symbol.asyncDispose]();
        run("dmsetup", ["remove", "--verifyudev", below]);
      },
    });
  }

  /** What holds the data, or the metadata, of all thin volumes. */
  poolTable(part: "tdata" | "tmeta"): DmTable {
    return new DmTable(`/dev/mapper/${this.group.name.replaceAll("-", "--")}-${POOL}_${part}`);
  }

  #until(change: AsyncDisposable): AsyncDisposable {
    this.#changes.push(change);
    return change;
  }

  /** All that a test has made. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const change of this.#changes.reverse()) await change[Symbol.asyncDispose]();
    const columns = ["--noheadings", "-o", "lv_name"];
    const volumes = lvm("lvs", ...columns, this.group.name)
      .split("\n")
      .map((line) => line.trim())
      .filter((name) => name !== "" && name !== POOL);
    if (volumes.length > 0)
      lvm("lvremove", "--quiet", "--yes", ...volumes.map((name) => `${this.group.name}/${name}`));
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A line of a table, with every read and write an error. */
function failing(line: string): string {
  return line.replace(/^(\d+ \d+) .*$/, "$1 error");
}
