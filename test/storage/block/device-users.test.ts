import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DeviceUser, writersOf } from "../../../src/storage/block/device-users.js";
import { LoopDevice } from "../../lab/loop-device.js";

let device: LoopDevice;
let number: bigint;
const started: ChildProcess[] = [];

beforeEach(() => {
  device = new LoopDevice(64 * 1024);
  number = statSync(device.path, { bigint: true }).rdev;
});
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill("SIGKILL");
    await once(child, "close");
  }
  device[Symbol.dispose]();
});

/**
 * A process that runs the shell script, prints its PID as it becomes `sleep`, and is no child of this process.
 * @returns what writersOf says of it, if it can write
 */
async function user(script: string): Promise<DeviceUser> {
  const child = spawn(
    "unshare",
    ["--mount", "--fork", "--kill-child", "sh", "-c", `${script}; echo $$; exec sleep 600`],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  started.push(child);
  const [pid] = (await once(child.stdout, "data")) as [Buffer];
  return { pid: Number(pid.toString()), command: "sleep" };
}

describe("writersOf", () => {
  it("names nobody where nobody has the device open", () => {
    expect(writersOf(number)).toEqual([]);
  });

  it("names who has it open for writing, or for both, and not who only reads", async () => {
    await user(`exec 7<${device.path}`);
    const writers = [await user(`exec 7>>${device.path}`), await user(`exec 7<>${device.path}`)];
    const byPid = (a: DeviceUser, b: DeviceUser) => a.pid - b.pid;
    expect(writersOf(number).sort(byPid)).toEqual(writers.sort(byPid));
  });

  it("finds who has opened it by another node that nobody else sees", async () => {
    const { rdev } = statSync(device.path);
    const node = `mount -t tmpfs none /mnt && mknod /mnt/disk b ${rdev >> 8} ${rdev & 0xff}`;
    const writer = await user(`${node} && exec 7<>/mnt/disk && umount -l /mnt`);
    expect(writersOf(number)).toEqual([writer]);
  });

  it("leaves out this process and its children", async () => {
    const fd = openSync(device.path, "r+");
    const child = spawn("sleep", ["600"], { stdio: ["ignore", "ignore", "ignore", fd] });
    started.push(child);
    await once(child, "spawn");
    expect(writersOf(number)).toEqual([]);
    closeSync(fd);
  });

  it("leaves out other devices, and files that hold a device's bytes", async () => {
    using other = new LoopDevice(64 * 1024);
    const writer = await user(`exec 7<>${other.path} 8<>${device.file}`);
    expect(writersOf(number)).toEqual([]);
    expect(writersOf(statSync(other.path, { bigint: true }).rdev)).toEqual([writer]);
  });

  it("does not wait for a file system that has stopped to answer", async () => {
    await using files = new StoppableFile();
    await user(`exec 7<>${files.path}`);
    const writer = await user(`exec 7<>${device.path}`);
    files.stop();
    // it would wait in the kernel, where nothing but the end of the waiting helps
    const script = `import { writersOf } from "./src/storage/block/device-users.ts";
      console.log(JSON.stringify(writersOf(${number}n)));`;
    const answer = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 20_000,
      killSignal: "SIGKILL",
    });
    expect(JSON.parse(answer)).toEqual([writer]);
  });
});

/** A file of a FUSE file system of its own, whose server can be stopped. */
class StoppableFile implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "luksmith-fuse-"));
  readonly #server: ChildProcess;
  readonly path = join(this.#directory, "file");

  constructor() {
    const image = join(this.#directory, "image");
    for (const file of [image, this.path]) writeFileSync(file, Buffer.alloc(4096));
    const pidFile = join(this.#directory, "pid");
    this.#server = spawn(
      "qemu-storage-daemon",
      [
        ...["--blockdev", `driver=file,node-name=file,filename=${image}`, "--pidfile", pidFile],
        ...["--export", `type=fuse,id=file,node-name=file,mountpoint=${this.path},writable=on`],
      ],
      { stdio: "inherit" },
    );
    execFileSync("timeout", ["20", "sh", "-c", `until [ -e '${pidFile}' ]; do sleep 0.05; done`]);
  }

  stop(): void {
    this.#server.kill("SIGSTOP");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.kill("SIGCONT");
    this.#server.kill("SIGTERM");
    await once(this.#server, "exit");
    rmSync(this.#directory, { recursive: true });
  }
}
