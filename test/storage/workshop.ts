import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import type { ErrorCode } from "../../src/error/catalogue.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { CommandRunner } from "../../src/exec/command-runner.js";
import { createStorageRegistry, type StorageSettings } from "../../src/storage/index.js";
import type { QemuNode, StorageBackend } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import type { StorageFixture } from "../contract/storage-fixture.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { DEFAULT_STORAGE } from "./default-storage.js";
import { plainNode, qemuIo, run } from "./qemu.js";

export * from "./qemu.js";

export type ImageFormat = "raw" | "qcow2";

export const SPEC: LuksSpec = { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" };
export const MIB = 1024 * 1024;

export type FileVolume = Extract<Volume, { kind: "file" }>;

const HOSTILE_NAMES = [
  `a,b=c:d -e 'f".img`,
  "-rf.img",
  "$(id)`id`;&|%s.img",
  "json:{}",
  "ключ 🔑.img",
  "line\nbreak.img",
  "back\\slash.img",
  "n".repeat(255),
];

/** A directory for image files, with the storage backend of one format on it. */
export class Workshop implements StorageFixture, Disposable {
  readonly root = mkdtempSync(join(tmpdir(), "luksmith-storage-"));
  readonly directory = join(this.root, "images");
  readonly lockDirectory = join(this.root, "lock");
  readonly settings = DEFAULT_STORAGE;
  readonly runner = new RecordingCommandRunner();
  readonly backend: StorageBackend;
  readonly hostileNames = HOSTILE_NAMES;
  readonly extent = 512;
  readonly killStride = 1;
  readonly unwritten = "empty";

  constructor(readonly format: ImageFormat) {
    mkdirSync(this.directory);
    this.backend = this.another();
  }

  another(): StorageBackend {
    return makeBackend(this.format, this.runner, this.lockDirectory);
  }

  makeEmpty(name: string, size = 8 * MIB, options?: string): FileVolume {
    return makeImage({ kind: "file", path: join(this.directory, name), format: this.format }, size, options);
  }

  absent(): FileVolume {
    return { kind: "file", path: join(this.directory, "missing"), format: this.format };
  }

  plainNode(volume: FileVolume): QemuNode {
    return plainNode(volume);
  }

  writeData({ path, format }: FileVolume, offset: number, locking: "on" | "off" = "on"): void {
    const node = { driver: format, file: { driver: "file", filename: path, locking } };
    qemuIo(node, [`write -P 0x5a ${offset} 512`]);
  }

  bytes({ path }: FileVolume): Buffer {
    return readFileSync(path);
  }

  state(): unknown {
    return filesIn(this.directory).map((name) => [name, sha256(join(this.directory, name))]);
  }

  remove({ path }: FileVolume): void {
    rmSync(path);
  }

  replace(volume: FileVolume): void {
    renameSync(volume.path, join(this.root, "replaced"));
    makeImage(volume, 8 * MIB);
  }

  /** QEMU and Luksmith enlarge files themselves. */
  enlarge(): void {
    return undefined;
  }

  /** Its first page is nobody's, so reading it is EIO. */
  breakReading({ path }: FileVolume): AsyncDisposable {
    return mountOver(`/proc/${process.pid}/mem`, path);
  }

  breakWriting({ path }: FileVolume): AsyncDisposable {
    return mountOver(path, path, "ro");
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    await Promise.resolve();
  }
}

/** A bind mount over a file, until it is disposed of for the first time. */
function mountOver(source: string, target: string, option?: "ro"): AsyncDisposable {
  run("mount", ["--bind", "--", source, target]);
  if (option !== undefined) run("mount", ["-o", `remount,bind,${option}`, "--", target]);
  let mounted = true;
  return {
    [Symbol.asyncDispose]: async () => {
      if (mounted) await Promise.resolve(run("umount", ["--", target]));
      mounted = false;
    },
  };
}

/** The storage backend of one type, with locks and settings of its own. */
export function makeBackend(
  type: string,
  runner: CommandRunner,
  lockDirectory: string,
  settings: StorageSettings = DEFAULT_STORAGE,
): StorageBackend {
  const registry = createStorageRegistry(runner, settings, new VolumeLocks(runner, lockDirectory));
  const backend = registry.all().find((candidate) => candidate.type === type);
  if (backend === undefined) throw new Error(`there is no storage backend ${type}`);
  return backend;
}

export function makeImage(volume: FileVolume, size: number, options?: string): FileVolume {
  const chosen = options === undefined ? [] : ["-o", options];
  run("qemu-img", ["create", "-q", "-f", volume.format, ...chosen, "--", volume.path, String(size)]);
  return volume;
}

export function sha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

export function filesIn(directory: string): string[] {
  return readdirSync(directory).sort();
}

/** The code of the LuksmithError that `work` rejects with. */
export async function codeOf(work: Promise<unknown>): Promise<ErrorCode> {
  const thrown = await work.then(
    () => new Error("it succeeded"),
    (error: unknown) => error,
  );
  if (thrown instanceof LuksmithError) return thrown.code;
  throw thrown;
}

export function makeFifo(path: string): void {
  run("mkfifo", ["--", path]);
}
