import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { secretFile } from "../../../src/secret/secret-file.js";
import type { Secret } from "../../../src/secret/secret.js";

const MIB = 1024 * 1024;

/** A volume that OpenStack Nova encrypted: plain dm-crypt, by the very command that it runs. */
export interface NovaVolume {
  readonly path: string;
  /** Name in /dev/mapper, which is what the guest's disk names. */
  readonly mapping: string;
  /** As the key manager has it: Nova pipes its hexadecimal digits. */
  readonly key: Buffer;
  /** Of all its bytes, decrypted. */
  readonly digest: string;
}

/** Makes such a volume of a logical volume, with a file system and a guest's data on it, and closes it. */
export function encryptAsNova(path: string): NovaVolume {
  const key = randomBytes(64);
  const mapping = `${path.split("/").at(-1)}-dmcrypt`;
  // nova/virt/libvirt/storage/dmcrypt.py, create_volume
  const parameters = ["--cipher=aes-xts-plain64", "--key-size=512", "--key-file=-"];
  execFileSync("cryptsetup", ["create", mapping, path, ...parameters], { input: key.toString("hex") });
  try {
    const device = `/dev/mapper/${mapping}`;
    execFileSync("mkfs.ext4", ["-q", "-L", "guest-root", device]);
    writeGuestData(device);
    return { path, mapping, key, digest: digestOf(device) };
  } finally {
    execFileSync("cryptsetup", ["remove", mapping]);
  }
}

/** Bytes that no pattern has, near the disk's end. */
export function writeGuestData(device: string, bytes: Buffer = randomBytes(MIB)): void {
  const size = Number(execFileSync("blockdev", ["--getsize64", device], { encoding: "utf8" }));
  execFileSync(
    "dd",
    [`of=${device}`, "bs=1M", `seek=${size / MIB - 1}`, "conv=notrunc,fsync", "status=none"],
    {
      input: bytes,
    },
  );
}

/** SHA-256 of the first `length` bytes, or of all. */
export function digestOf(path: string, length = Infinity): string {
  const hash = createHash("sha256");
  const fd = openSync(path, "r");
  try {
    const piece = Buffer.alloc(MIB);
    for (let done = 0; done < length;) {
      const read = readSync(fd, piece, 0, Math.min(MIB, length - done), done);
      if (read === 0) break;
      hash.update(piece.subarray(0, read));
      done += read;
    }
    return hash.digest("hex");
  } finally {
    closeSync(fd);
  }
}

/** What a guest would see of a LUKS volume, by QEMU alone: the digest of its first `length` bytes. */
export function digestInLuks(path: string, passphrase: Secret, length: number, scratch: string): string {
  const plaintext = join(scratch, "decrypted");
  using key = secretFile(passphrase);
  const source = `driver=luks,key-secret=s,file.driver=host_device,file.filename=${path}`;
  const secret = ["--object", "secret,id=s,file=/proc/self/fd/3"];
  try {
    execFileSync("qemu-img", ["convert", ...secret, "--image-opts", source, "-O", "raw", plaintext], {
      stdio: ["ignore", "pipe", "pipe", key.fd],
    });
    return digestOf(plaintext, length);
  } finally {
    rmSync(plaintext, { force: true });
  }
}

export function writeKeyFile(path: string, content: Buffer | string): string {
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** Names of open mappings, without LVM's. */
export function openMappings(): string[] {
  const list = execFileSync("dmsetup", ["ls", "--target", "crypt"], { encoding: "utf8" });
  return [...list.matchAll(/^(\S+)\s+\(/gm)].map(([, name]) => name!);
}

export function sizeOf(path: string): number {
  return Number(execFileSync("blockdev", ["--getsize64", path], { encoding: "utf8" }));
}
