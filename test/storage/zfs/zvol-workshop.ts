import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { datasetOf } from "../../../src/storage/zfs/zfs-dataset.js";
import { type BlockVolume, type Device, DeviceWorkshop } from "../device-workshop.js";
import { MIB } from "../workshop.js";

const FAKE = fileURLToPath(new URL("../../fake/fake-zfs.sh", import.meta.url));

/** What a new volume has, beside what the fake finds out. */
const PROPERTIES = {
  type: "volume",
  volblocksize: "16384",
  origin: "-",
  volmode: "dev",
  keystatus: "none",
  readonly: "off",
  snapshots: "",
} as const;

/**
 * Lays the fake zfs tool over /usr/sbin of User-Mode Linux, for all of its processes, until it is disposed of: a killed
 * process and those that it started meet it as well.
 */
export class FakeZfs implements Disposable {
  readonly state = mkdtempSync(join(tmpdir(), "luksmith-fake-zfs-"));
  readonly #failure = join(this.state, "failure");
  readonly #layers = mkdtempSync(join(tmpdir(), "luksmith-sbin-"));

  constructor() {
    for (const layer of ["upper", "work"]) mkdirSync(join(this.#layers, layer));
    const options = `lowerdir=/usr/sbin,upperdir=${this.#layers}/upper,workdir=${this.#layers}/work`;
    execFileSync("mount", ["-t", "overlay", "-o", options, "overlay", "/usr/sbin"]);
    this.heal();
  }

  /** All calls of one subcommand fail with what libzfs says. */
  fail(subcommand: string, message: string): void {
    writeFileSync(this.#failure, `${subcommand} ${message}\n`);
  }

  /** As on a host where the package is missing. */
  uninstall(): void {
    rmSync("/usr/sbin/zfs");
  }

  heal(): void {
    rmSync(this.#failure, { force: true });
    writeFileSync("/usr/sbin/zfs", `#!/bin/sh\nexec sh '${FAKE}' '${this.state}' "$@"\n`, { mode: 0o755 });
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["-l", "/usr/sbin"]);
    for (const directory of [this.state, this.#layers]) rmSync(directory, { recursive: true });
  }
}

/** Devices that stand in for ZFS volumes, under the names that udev gives these, with the storage backend `zfs` on them. */
export class ZvolWorkshop extends DeviceWorkshop {
  override readonly hostileNames = ["a b  c ", "-rf", "vm:1.x_y-z-part1", `...${"n".repeat(200)}`];
  /** How a header is written is the same on every device: block.faults.test.ts kills at each step. */
  override readonly killStride = 4;
  override readonly extent: number = Number(PROPERTIES.volblocksize);
  override readonly pool = "tank";

  constructor(private readonly zfs: FakeZfs) {
    const parent = `tank/luksmith ${randomUUID()}`;
    const directory = `/dev/zvol/${parent.replaceAll(" ", "+")}`;
    mkdirSync(directory, { recursive: true });
    super("zfs", directory);
    mkdirSync(join(zfs.state, parent), { recursive: true });
    this.describe(join(zfs.state, "new"), {});
  }

  override makeEmpty(name: string, size = 8 * MIB): BlockVolume {
    return super.makeEmpty(name.replaceAll(" ", "+"), size);
  }

  /** What ZFS says of a volume that it has. */
  setProperty(volume: BlockVolume, property: keyof typeof PROPERTIES, value: string): void {
    writeFileSync(join(this.stateOf(volume.path), property), value);
  }

  protected override attach(path: string, device: Device): void {
    super.attach(path, device);
    this.describe(this.stateOf(path), { device: `${basename(device.path)} ${device.underlying}` });
  }

  /** What was one volume's device is the next new one's. */
  protected override detach(path: string, device: Device): void {
    super.detach(path, device);
    writeFileSync(join(this.zfs.state, "spare"), `${basename(device.path)} ${device.underlying}`);
    rmSync(join(this.stateOf(path), ".."), { recursive: true });
  }

  /** The backend makes the room itself. */
  override enlarge(): void {
    return undefined;
  }

  private stateOf(path: string): string {
    return join(this.zfs.state, datasetOf(path) ?? "", "@");
  }

  private describe(state: string, more: Readonly<Record<string, string>>): void {
    mkdirSync(state, { recursive: true });
    for (const [name, value] of Object.entries({ ...PROPERTIES, ...more })) {
      writeFileSync(join(state, name), value);
    }
  }
}
