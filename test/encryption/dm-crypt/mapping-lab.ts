import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DmCryptMappings } from "../../../src/encryption/dm-crypt/dm-crypt-mappings.js";
import { mappingName } from "../../../src/encryption/dm-crypt/mapping-name.js";
import type { MappingOwner, MappingRequest } from "../../../src/encryption/encryption-provider.js";
import type { EncryptionFormat, EncryptionSpec } from "../../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { PathVolume } from "../../../src/storage/volume.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { DmDevice } from "../../lab/device-mapper.js";
import { LoopDevice } from "../../lab/loop-device.js";

export const MIB = 1024 * 1024;
export const SIZE = 8 * MIB;

/** Volumes, one key for all of them, and what opens them. */
export class MappingLab implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "luksmith-mapping-"));
  readonly places = { claims: join(this.directory, "mappings"), locks: join(this.directory, "lock") };
  readonly runner = new RecordingCommandRunner();
  readonly mappings = new DmCryptMappings(this.runner, this.places);
  readonly passphrase = Secret.randomPassphrase();
  readonly guest: MappingOwner = { id: randomUUID(), name: "web1" };
  readonly #loops: LoopDevice[] = [];

  makeFile(name = "disk.img", size = SIZE): PathVolume {
    const path = join(this.directory, name);
    writeFileSync(path, "");
    truncateSync(path, size);
    return { kind: "file", path, format: "raw" };
  }

  makeDevice(size = SIZE): PathVolume {
    const loop = new LoopDevice(size);
    this.#loops.push(loop);
    return { kind: "block", path: loop.path, format: "raw" };
  }

  /** As a guest would have it opened. */
  requestFor(
    volume: PathVolume,
    format: EncryptionFormat,
    changes: Partial<MappingRequest> = {},
  ): MappingRequest {
    const uuid = changes.uuid ?? newKeyUuid();
    const request = { name: mappingName(volume, uuid), volume, uuid, spec: specOf(format) };
    return { ...request, guest: this.guest, disk: "vda", ...changes };
  }

  /** With a LUKS header that the passphrase opens; nothing for plain, which has none. */
  format({ volume, uuid, spec }: MappingRequest): void {
    if (spec.format === "plain") return;
    const type = spec.format === "luks" ? "luks1" : "luks2";
    const pbkdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    const shape = ["--cipher", spec.cipher, "--key-size", String(spec.keySize), "--hash", spec.hash];
    const offset = ["--offset", "4096", ...(type === "luks2" ? ["--luks2-keyslots-size", "1m"] : [])];
    const options = ["-q", "--type", type, "--uuid", uuid, ...shape, ...pbkdf, ...offset];
    this.#cryptsetup(["luksFormat", ...options, "--key-file", "-", volume.path]);
  }

  /** A formatted volume and what opens it. */
  make(
    kind: PathVolume["kind"],
    format: EncryptionFormat,
    changes: Partial<MappingRequest> = {},
  ): MappingRequest {
    const volume = changes.volume ?? (kind === "file" ? this.makeFile() : this.makeDevice());
    const request = this.requestFor(volume, format, changes);
    this.format(request);
    return request;
  }

  open(request: MappingRequest): Promise<void> {
    return this.mappings.open(request, this.passphrase);
  }

  /** As somebody else would do it. */
  openForeign(name: string, path: string): void {
    const shape = ["--type", "plain", "--cipher", "aes-xts-plain64", "--key-size", "256", "--hash", "sha256"];
    this.#cryptsetup(["open", "-q", ...shape, "--key-file", "-", path, name]);
  }

  /** As an administrator would do it. */
  closeElsewhere(name: string): void {
    execFileSync("cryptsetup", ["close", name], { stdio: "pipe" });
  }

  /** Whatever a failed test has left, so that what is under it can go. */
  closeAll(): void {
    for (const name of mappingNames()) execFileSync("dmsetup", ["remove", "--force", "--retry", name]);
  }

  suspend(name: string): void {
    execFileSync("dmsetup", ["suspend", name]);
  }

  rename(from: string, to: string): void {
    execFileSync("dmsetup", ["--verifyudev", "rename", from, to]);
  }

  lineOver(device: string): DmDevice {
    return new DmDevice({ kind: "linear", size: MIB, device });
  }

  /** Bytes. */
  sizeOf(name: string): number {
    return Number(execFileSync("blockdev", ["--getsize64", mapper(name)], { encoding: "utf8" }));
  }

  claimFiles(): string[] {
    return existsSync(this.places.claims) ? readdirSync(this.places.claims) : [];
  }

  #cryptsetup(args: readonly string[]): void {
    this.passphrase.use((input) => execFileSync("cryptsetup", args, { input, stdio: "pipe" }));
  }

  [Symbol.dispose](): void {
    this.closeAll();
    for (const loop of this.#loops) loop[Symbol.dispose]();
    this.passphrase.dispose();
    rmSync(this.directory, { recursive: true });
  }
}

export function specOf(format: EncryptionFormat): EncryptionSpec {
  return { format, cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" };
}

/** The mappings of dm-crypt that the kernel has, also those that sysfs does not show. */
export function mappingNames(): string[] {
  const columns = ["info", "-c", "--noheadings", "--separator", " ", "-o", "name,uuid"];
  return execFileSync("dmsetup", columns, { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(" CRYPT-"))
    .map((line) => line.split(" ", 1)[0] ?? "");
}

/** The loop devices that are made of something. */
export function loops(): string[] {
  return readdirSync("/sys/block").filter((device) => existsSync(`/sys/block/${device}/loop/backing_file`));
}

export function mapper(name: string): string {
  return `/dev/mapper/${name}`;
}

/** Through the kernel's cache to the device. */
export function write(path: string, text: string, position = 0): void {
  const fd = openSync(path, "r+");
  try {
    writeSync(fd, text, position);
  } finally {
    closeSync(fd);
  }
}

export function read(path: string, length: number, position = 0): string {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(length);
    readSync(fd, bytes, 0, length, position);
    return bytes.toString("latin1");
  } finally {
    closeSync(fd);
  }
}
