import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Secret } from "../../src/secret/secret.js";
import type { QemuNode } from "../../src/storage/storage-backend.js";

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

export function run(tool: string, args: readonly string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Lends QEMU's `--object` for the passphrase, which QEMU reads when it starts. */
export function withKey<T>(passphrase: Secret | undefined, work: (object: readonly string[]) => T): T {
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
