import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { ENVIRONMENT } from "./program.js";

type Daemon = ChildProcessByStdio<Writable, Readable, null>;
type Arguments = Readonly<Record<string, string>>;

interface Message {
  readonly id?: number;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: { readonly device?: string };
}

/** qemu-storage-daemon, which has QEMU's block layer and its iothreads, and no guest. Ends with this process. */
export class StorageDaemon implements AsyncDisposable {
  readonly #messages: Interface;
  #id = 0;

  private constructor(private readonly process: Daemon) {
    this.#messages = createInterface(process.stdout);
  }

  /** @param fds its descriptors 3, 4, … */
  static async start(options: readonly string[], fds: readonly number[]): Promise<StorageDaemon> {
    const monitor = ["--chardev=stdio,id=monitor", "--monitor=monitor"];
    const child = spawn("/usr/bin/qemu-storage-daemon", [...options, ...monitor], {
      env: ENVIRONMENT,
      stdio: ["pipe", "pipe", "inherit", ...fds],
    });
    const daemon = new StorageDaemon(child as Daemon);
    await daemon.execute("qmp_capabilities");
    return daemon;
  }

  /** Resolves when the daemon has done it. @throws with what it says */
  async execute(command: string, args: Arguments = {}): Promise<void> {
    const id = ++this.#id;
    this.process.stdin.write(JSON.stringify({ execute: command, arguments: args, id }));
    const { error } = await this.message((message) => message.id === id);
    if (error !== undefined) throw new Error(`qemu-storage-daemon: ${command}: ${error.desc}`);
  }

  /** Copies a node to another one. Resolves when all of it is copied. */
  async mirror(from: string, to: string): Promise<void> {
    const ready = this.message(({ event, data }) => event === "BLOCK_JOB_READY" && data?.device === from);
    await this.execute("blockdev-mirror", { "job-id": from, device: from, target: to, sync: "full" });
    await ready;
  }

  private message(isWanted: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve, reject) => {
      const look = (line: string) => {
        const message = JSON.parse(line) as Message;
        if (isWanted(message)) settle(() => resolve(message));
      };
      const fail = () => settle(() => reject(new Error("qemu-storage-daemon ended before its time")));
      const settle = (how: () => void) => {
        this.#messages.off("line", look).off("close", fail);
        how();
      };
      this.#messages.on("line", look).on("close", fail);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGKILL");
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, "exit");
  }
}
