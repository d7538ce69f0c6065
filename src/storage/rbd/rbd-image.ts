import { readSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { openMemoryFile } from "../../secret/secret-file.js";
import type { Allocation } from "../allocation-map.js";
import type { ImageLock } from "../image-lock.js";
import type { RawVolume } from "../raw-luks/raw-volume.js";
import { type RbdClient, type RbdInfo, reasonIn } from "./rbd-client.js";
import { signatureOf } from "../signature.js";
import type { QemuNode } from "../storage-backend.js";
import { volumeBusy, volumeUnreadable, volumeUnwritable } from "../volume-error.js";

/** Bytes at the start that tell what an image holds. */
const HEAD = 1024 * 1024;
/** Milliseconds to wait for others to close the image: another look at it takes a moment. */
const PATIENCE = 3000;
const PROOF_TIMEOUT = 600_000;

/**
 * An RBD image. Nothing maps it and no process of ours stays connected to it: each read and each write is a QEMU tool
 * of its own, which takes its bytes from memory.
 */
export class RbdImage implements RawVolume {
  /** Inherited by whoever writes: after our death, nobody gets the lock while a write is under way. */
  #volumeLock: number | undefined;

  private constructor(
    private readonly runner: CommandRunner,
    private readonly client: RbdClient,
    private readonly info: RbdInfo,
  ) {}

  /** @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
  static async open(runner: CommandRunner, client: RbdClient): Promise<RbdImage> {
    return new RbdImage(runner, client, await client.info());
  }

  get name(): string {
    return this.client.name;
  }

  /** Images of two clusters that have the same name wait for each other, which does no harm. */
  get identity(): string {
    return `${this.name} ${this.info.id}`;
  }

  get size(): number {
    return this.info.size;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const available = Math.max(0, Math.min(length, this.size - offset));
    if (available === 0) return Buffer.alloc(0);
    using target = openMemoryFile();
    await this.tool("qemu-img", {
      args: [
        ...["dd", "-O", "raw", `bs=${available}`, "count=1"],
        ...[`if=${jsonOf(this.slice(offset, available))}`, "of=/proc/self/fd/3"],
      ],
      fds: [target.fd],
      refused: volumeUnreadable,
    });
    const bytes = Buffer.alloc(available);
    const filled = readSync(target.fd, bytes, 0, available, 0);
    if (filled < available) throw volumeUnreadable(this.name, "qemu-img gave fewer bytes than the image has");
    return bytes;
  }

  async write(offset: number, bytes: Buffer): Promise<void> {
    using source = openMemoryFile(bytes.length);
    writeSync(source.fd, bytes, 0, bytes.length, 0);
    const stdout = await this.tool("qemu-io", {
      args: ["-c", `write -s /proc/self/fd/3 ${offset} ${bytes.length}`, "-c", "flush", jsonOf(this.whole())],
      fds: [source.fd, ...(this.#volumeLock === undefined ? [] : [this.#volumeLock])],
      refused: volumeUnwritable,
    });
    if (!stdout.includes(`wrote ${bytes.length}/${bytes.length} bytes`))
      throw volumeUnwritable(this.name, "qemu-io did not write all of it");
  }

  /** Each write has waited for the cluster. */
  sync(): Promise<void> {
    return Promise.resolve();
  }

  async isInPlace(): Promise<boolean> {
    try {
      const now = await this.client.info();
      return now.id === this.info.id;
    } catch (thrown) {
      if (thrown instanceof LuksmithError && thrown.code === "VOLUME_NOT_FOUND") return false;
      throw thrown;
    }
  }

  allocation(): Promise<Allocation> {
    return this.client.extents();
  }

  /** One comparison over all that is allocated: QEMU leaves out the objects that are not there. */
  async readsAsZero(allocation: Allocation, from: number): Promise<boolean> {
    if (allocation === "compressed") return false;
    // one object after the other: a large image has more of them than a call takes arguments
    let [start, end] = [this.size, 0];
    for (const { offset, length } of allocation) {
      start = Math.min(start, offset);
      end = Math.max(end, offset + length);
    }
    start = Math.max(from, start);
    end = Math.min(this.size, end);
    if (end <= start) return true;
    const zeros = { driver: "null-co", size: end - start, "read-zeroes": true };
    const { exitCode, stderr } = await this.runner.run({
      tool: "qemu-img",
      args: ["compare", jsonOf(this.slice(start, end - start)), jsonOf(zeros)],
      ...this.client.limits,
      timeout: PROOF_TIMEOUT,
      // 1: they differ; 2 to 4: what could not be read or opened is the image
      answers: [1, 2, 3, 4],
    });
    if (exitCode > 1) throw volumeUnreadable(this.name, reasonIn(stderr));
    return exitCode === 0;
  }

  async obstacle(): Promise<string | undefined> {
    const { snapshot_count: count } = await this.client.info();
    return count === 0 ? undefined : `${count} ${count === 1 ? "snapshot" : "snapshots"}`;
  }

  async signature(): Promise<string | undefined> {
    using copy = openMemoryFile(this.size);
    const start = await this.read(0, HEAD);
    writeSync(copy.fd, start, 0, start.length, 0);
    const read = (offset: number, length: number) => Promise.resolve(start.subarray(offset, offset + length));
    return await signatureOf(this.runner, { fd: copy.fd, read });
  }

  /**
   * A lock of Ceph's would keep QEMU off for ever, ours too. So a qemu-io opens the image, which makes it known to the
   * cluster, and then nobody else may have it open: of two that do so at the same time, here or on two hosts, none goes
   * on that does not see the other go.
   */
  async lock(volumeLock: number): Promise<ImageLock> {
    const [lock] = await this.client.locks();
    if (lock !== undefined) throw volumeBusy(this.name, `it is locked: rbd lock ls names the lock ${lock}`);
    const holder = await this.runner.hold({
      tool: "qemu-io",
      args: [jsonOf(this.whole())],
      fds: [volumeLock],
      ...this.client.limits,
      end: "end-of-input",
      // it could not open the image for writing
      answers: [1],
    });
    if (holder.kind === "ended") throw volumeUnwritable(this.name, reasonIn(holder.stderr));
    const assertHeld = async () => {
      if (!holder.isRunning) throw volumeUnwritable(this.name, "qemu-io, which had it open, has ended");
      await this.refuseOthers();
    };
    try {
      await assertHeld();
    } catch (thrown) {
      await holder[Symbol.asyncDispose]();
      throw thrown;
    }
    this.#volumeLock = volumeLock;
    return {
      assertHeld,
      [Symbol.asyncDispose]: async () => {
        this.#volumeLock = undefined;
        await holder[Symbol.asyncDispose]();
      },
    };
  }

  /** Whoever has the image's exclusive lock gives it up for each write, and takes it again for its own next one. */
  share(volumeLock: number): Promise<AsyncDisposable> {
    this.#volumeLock = volumeLock;
    return Promise.resolve({
      [Symbol.asyncDispose]: () => {
        this.#volumeLock = undefined;
        return Promise.resolve();
      },
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** Besides the one that is ours. */
  private async refuseOthers(): Promise<void> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const watchers = await this.client.watchers();
      if (watchers.length <= 1) return;
      if (performance.now() > deadline)
        throw volumeBusy(
          this.name,
          `another client has it open (${watchers.join(", ")}); Ceph forgets one that died after 30 s`,
        );
      await setTimeout(200);
    }
  }

  /** Runs a QEMU tool; what it fails over is the image, and `refused` says so. @returns its stdout */
  private async tool(tool: "qemu-img" | "qemu-io", { args, fds, refused }: ToolCall): Promise<string> {
    try {
      return (await this.runner.run({ tool, args, fds, ...this.client.limits })).stdout;
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code === "TOOL_MISSING") throw thrown;
      throw refused(this.name, reasonIn(thrown.why ?? thrown.message));
    }
  }

  private whole(): QemuNode {
    return { driver: "raw", file: this.client.node() };
  }

  private slice(offset: number, size: number): QemuNode {
    return { driver: "raw", offset, size, file: this.client.node() };
  }
}

interface ToolCall {
  readonly args: readonly string[];
  readonly fds: readonly number[];
  readonly refused: (name: string, why: string) => LuksmithError;
}

function jsonOf(node: QemuNode): string {
  return `json:${JSON.stringify(node)}`;
}
