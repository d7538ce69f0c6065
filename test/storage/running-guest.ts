import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Secret } from "../../src/secret/secret.js";
import type { QemuNode } from "../../src/storage/storage-backend.js";
import { run, withKey } from "./qemu.js";

/** Tells the guest's QEMU that its disk has `bytes` now; returns how many it shows then. */
export type Resize = (bytes: bigint) => Promise<bigint>;

/** Does `work` while a guest, which does not run yet, has the image as its disk. */
export async function whileOpen<T>(
  node: QemuNode,
  work: (resize: Resize) => Promise<T>,
  passphrase?: Secret,
  sharing: "share-rw=on" | "share-rw=off" = "share-rw=off",
): Promise<T> {
  const directory = mkdtempSync("/dev/shm/luksmith-test-");
  const pidFile = join(directory, "pid");
  const socket = join(directory, "qmp");
  withKey(passphrase, (key) =>
    run("qemu-system-x86_64", [
      ...["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,accel=tcg", "-S"],
      ...key,
      ...["-blockdev", JSON.stringify({ ...node, "node-name": "disk" })],
      ...["-device", `virtio-blk-pci,drive=disk,${sharing}`],
      ...["-qmp", `unix:${socket},server=on,wait=off`],
      ...["-pidfile", pidFile, "-daemonize"],
    ]),
  );
  const pid = Number(readFileSync(pidFile, "utf8"));
  try {
    return await work((bytes) => resizeByQemu(socket, bytes));
  } finally {
    // killed, a Ceph client would be taken for alive for 30 s more
    process.kill(pid, "SIGTERM");
    while (isRunning(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
    rmSync(directory, { recursive: true });
  }
}

/** It closes its disks before it ends. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function resizeByQemu(socket: string, bytes: bigint): Promise<bigint> {
  const answers = await qmp(socket, [
    `{"execute":"qmp_capabilities"}`,
    `{"execute":"block_resize","arguments":{"node-name":"disk","size":${bytes}}}`,
    `{"execute":"query-named-block-nodes","arguments":{"flat":true}}`,
  ]);
  const nodes = answers.at(-1) as { "node-name": string; image: { "virtual-size": number } }[];
  const disk = nodes.find((candidate) => candidate["node-name"] === "disk");
  if (disk === undefined) throw new Error("the guest has no disk any more");
  return BigInt(disk.image["virtual-size"]);
}

/** What the QEMU Machine Protocol returns to each command; throws the first error. */
async function qmp(socket: string, commands: readonly string[]): Promise<unknown[]> {
  const connection = connect(socket);
  try {
    const returned: unknown[] = [];
    connection.write(commands.join("\n"));
    for await (const line of createInterface({ input: connection })) {
      const message = JSON.parse(line) as { return?: unknown; error?: { desc: string } };
      if (message.error !== undefined) throw new Error(message.error.desc);
      if ("return" in message) returned.push(message.return);
      if (returned.length === commands.length) return returned;
    }
    throw new Error("QEMU hung up");
  } finally {
    connection.destroy();
  }
}
