import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LuksFormatter } from "../../src/encryption/luks-formatter.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import type { ErrorCode } from "../../src/error/catalogue.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { CommandRunner } from "../../src/exec/command-runner.js";
import type { Secret } from "../../src/secret/secret.js";
import { Qcow2Backend } from "../../src/storage/qcow2.js";
import { RawBackend } from "../../src/storage/raw.js";
import type { QemuNode, StorageBackend } from "../../src/storage/storage-backend.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import type { FileVolume, StorageFixture } from "../contract/storage-backend.contract.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";

export type ImageFormat = "raw" | "qcow2";

export const SPEC: LuksSpec = { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" };
export const MIB = 1024 * 1024;

/** A directory for image files, with the storage backend of one format on it. */
export class Workshop implements StorageFixture {
  readonly root = mkdtempSync(join(tmpdir(), "luksmith-storage-"));
  readonly directory = join(this.root, "images");
  readonly lockDirectory = join(this.root, "lock");
  readonly runner = new RecordingCommandRunner();
  readonly backend: StorageBackend;

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

  writeData({ path, format }: FileVolume, offset: number, locking: "on" | "off" = "on"): void {
    const node = { driver: format, file: { driver: "file", filename: path, locking } };
    qemuIo(node, [`write -P 0x5a ${offset} 512`]);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

export function makeBackend(
  format: ImageFormat,
  runner: CommandRunner,
  lockDirectory: string,
): StorageBackend {
  const ports = [runner, new LuksFormatter(runner), new VolumeLocks(runner, lockDirectory)] as const;
  switch (format) {
    case "raw":
      return new RawBackend(...ports);
    case "qcow2":
      return new Qcow2Backend(...ports);
  }
}

export function makeImage(volume: FileVolume, size: number, options?: string): FileVolume {
  const chosen = options === undefined ? [] : ["-o", options];
  run("qemu-img", ["create", "-q", "-f", volume.format, ...chosen, "--", volume.path, String(size)]);
  return volume;
}

/** How QEMU opens an image that is not encrypted. */
export function plainNode({ path, format }: { readonly path: string; readonly format: string }): QemuNode {
  return { driver: format, file: { driver: "file", filename: path } };
}

/** Runs qemu-io's commands on what the node tree shows; throws when one fails. */
export function qemuIo(node: QemuNode, commands: readonly string[], passphrase?: Secret): string {
  const args = commands.flatMap((command) => ["-c", command]);
  return withKey(passphrase, (key) => run("qemu-io", [...args, ...key, `json:${JSON.stringify(node)}`]));
}

/** Bytes that QEMU shows to a guest. */
export function guestSizeByQemu(node: QemuNode, passphrase: Secret): bigint {
  const image = `json:${JSON.stringify(node)}`;
  const info = withKey(passphrase, (key) => run("qemu-img", ["info", "--output=json", ...key, image]));
  // the nodes below it have sizes of their own
  const { "virtual-size": size } = JSON.parse(info) as { readonly "virtual-size": number };
  return BigInt(size);
}

/** Has QEMU read all tables of the image and count all clusters; throws when something is wrong or leaked. */
export function checkByQemu(node: QemuNode, passphrase: Secret): void {
  withKey(passphrase, (key) => run("qemu-img", ["check", "-q", ...key, `json:${JSON.stringify(node)}`]));
}

/** Does `work` while a guest, which does not run yet, has the image as its disk. */
export async function whileOpen<T>(
  node: QemuNode,
  work: () => Promise<T>,
  passphrase?: Secret,
  sharing: "share-rw=on" | "share-rw=off" = "share-rw=off",
): Promise<T> {
  const directory = mkdtempSync("/dev/shm/luksmith-test-");
  const pidFile = join(directory, "pid");
  withKey(passphrase, (key) =>
    run("qemu-system-x86_64", [
      ...["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,accel=tcg", "-S"],
      ...key,
      ...[
        "-blockdev",
        JSON.stringify({ ...node, "node-name": "disk" }),
        "-device",
        `virtio-blk-pci,drive=disk,${sharing}`,
      ],
      ...["-pidfile", pidFile, "-daemonize"],
    ]),
  );
  const pid = Number(readFileSync(pidFile, "utf8"));
  try {
    return await work();
  } finally {
    process.kill(pid, "SIGKILL");
    rmSync(directory, { recursive: true });
  }
}

function run(tool: string, args: readonly string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Lends QEMU's `--object` for the passphrase, which QEMU reads when it starts. */
function withKey<T>(passphrase: Secret | undefined, work: (object: readonly string[]) => T): T {
  if (passphrase === undefined) return work([]);
  const directory = mkdtempSync("/dev/shm/luksmith-test-");
  try {
    const file = join(directory, "passphrase");
    passphrase.use((bytes) => writeFileSync(file, bytes));
    return work(["--object", `secret,id=key,file=${file}`]);
  } finally {
    rmSync(directory, { recursive: true });
  }
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
