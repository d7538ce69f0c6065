import { execa } from "execa";
import { createHash } from "node:crypto";
import { open, readFile, truncate, writeFile } from "node:fs/promises";
import { secretFile } from "../../../src/secret/secret-file.js";
import type { Secret } from "../../../src/secret/secret.js";

export const MIB = 1024 * 1024;
const SIZE = 8 * MIB;

export type ImageFormat = "raw" | "qcow2";

/** A new, empty image as an orchestrator makes it: sparse. */
export async function makeVolume(path: string, format: ImageFormat, ...options: string[]): Promise<void> {
  if (format === "raw" && options.length === 0) {
    await writeFile(path, "");
    await truncate(path, SIZE);
    return;
  }
  await execa("qemu-img", ["create", "-q", "-f", format, ...options, "--", path, String(SIZE)]);
}

/** A raw image whose every block is allocated and zero. */
export function makeThickVolume(path: string): Promise<void> {
  return writeFile(path, Buffer.alloc(SIZE));
}

export async function writeAt(path: string, offset: number, bytes: string | Uint8Array): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(Buffer.from(bytes), 0, undefined, offset);
}

export async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** The UUID in the volume's LUKS header as QEMU reads it, or undefined where there is no header. */
export async function luksUuidOf(path: string, format: ImageFormat): Promise<string | undefined> {
  const driver = format === "raw" ? "luks" : "qcow2";
  const { exitCode, stdout } = await execa(
    "qemu-img",
    ["info", "-U", "--output=json", "-f", driver, "--", path],
    { reject: false },
  );
  if (exitCode !== 0) return undefined;
  const info = JSON.parse(stdout) as {
    "format-specific"?: { data: { uuid?: string; encrypt?: { uuid: string } } };
  };
  const data = info["format-specific"]?.data;
  return format === "raw" ? data?.uuid : data?.encrypt?.uuid;
}

/** Reads the guest's first sector through QEMU, which knows nothing of Luksmith. */
export async function opensWith(path: string, format: ImageFormat, passphrase: Secret): Promise<boolean> {
  return (await readInside(path, format, passphrase, "read 0 512")) !== undefined;
}

/** What the guest sees there, as QEMU decrypts it; undefined where the passphrase does not open the volume. */
export async function guestBytes(
  path: string,
  format: ImageFormat,
  passphrase: Secret,
  offset: number,
  length: number,
): Promise<Buffer | undefined> {
  const dump = await readInside(path, format, passphrase, `read -v ${offset} ${length}`);
  // `00100000:  4c 55 4b 53 …  LUKS…`
  const lines = dump?.matchAll(/^[0-9a-f]{8,}: +((?:[0-9a-f]{2} ){1,16})/gm);
  return lines && Buffer.from([...lines].map(([, hex = ""]) => hex.replaceAll(" ", "")).join(""), "hex");
}

/** @param command of qemu-io @returns what it prints, or undefined if it fails */
async function readInside(
  path: string,
  format: ImageFormat,
  passphrase: Secret,
  command: string,
): Promise<string | undefined> {
  using key = secretFile(passphrase);
  const file = { driver: path.startsWith("/dev/") ? "host_device" : "file", filename: path };
  const node =
    format === "raw"
      ? { driver: "luks", "key-secret": "s", file }
      : { driver: "qcow2", encrypt: { format: "luks", "key-secret": "s" }, file };
  const { exitCode, stdout } = await execa(
    "qemu-io",
    // read-only and forced: a guest may have it open
    [
      ...["--object", "secret,id=s,file=/proc/self/fd/3", "-r", "-U"],
      ...["-c", command, `json:${JSON.stringify(node)}`],
    ],
    { stdio: ["ignore", "pipe", "pipe", key.fd as 3], reject: false },
  );
  return exitCode === 0 ? stdout : undefined;
}
