import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { closeIdleExports } from "../../../../src/host/proxmox/export/idle-exports.js";
import { Bundle } from "../../../lab/bundle.js";
import type { EngineOrder } from "./engine-process.js";
import { errorOfWriting, ExportWorkshop, readBytes, writeBytes } from "./export-workshop.js";

const SCRIPT = fileURLToPath(new URL("engine-process.ts", import.meta.url));
const NAME = "vm-100-disk-0";

let bundle: Bundle;
beforeAll(async () => {
  bundle = await Bundle.of(SCRIPT);
});
afterAll(() => bundle[Symbol.dispose]());

let workshop: ExportWorkshop;
beforeEach(async () => {
  workshop = new ExportWorkshop();
  await workshop.make();
});
afterEach(() => workshop[Symbol.asyncDispose]());

/** The engine in a process of its own, which is killed just before its n-th call of `call`. @returns how it ended */
async function engine(op: EngineOrder["op"], call: string, nth: number): Promise<string> {
  const order: EngineOrder = { root: workshop.root, base: workshop.storage.base, op, volume: NAME };
  const inject = [
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    `trace=${call}`,
    "-e",
    `inject=${call}:signal=KILL:when=${nth}`,
  ];
  const child = spawn("strace", [...inject, process.execPath, bundle.file, JSON.stringify(order)], {
    env: { ...process.env, UV_THREADPOOL_SIZE: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return await new Promise((resolve) => {
    child.once("exit", (_code, signal) => resolve(signal === "SIGKILL" ? "killed" : output));
  });
}

/** Nobody can write plaintext: what is there under the file's name is the export, dead or alive, or takes nothing. */
function expectNoPlainFile(): void {
  const { image } = workshop.place();
  if (workshop.mounts().includes(image)) return;
  // before the first export nothing is there at all
  if (existsSync(workshop.places.exports)) expect(errorOfWriting(image)).toBe("EROFS");
  if (existsSync(image)) expect(readBytes(image, 0, 1)).toHaveLength(0);
}

async function expectWorks(): Promise<void> {
  const path = await workshop.open();
  expect(workshop.daemons()).toHaveLength(1);
  expect(workshop.mounts()).toHaveLength(1);
  writeBytes(path, 0, Buffer.alloc(4096, 0x77));
  expectForgotten();
  await workshop.close();
  expect(workshop.left()).toEqual([]);
  expect(workshop.mounts()).toEqual([]);
  expect(workshop.daemons()).toEqual([]);
}

/** The file with the passphrase has no name, and is empty. */
function expectForgotten(): void {
  const files = `/proc/${workshop.daemon()}/fd`;
  const unnamed = readdirSync(files).filter((fd) => readlinkSync(join(files, fd)).endsWith("(deleted)"));
  expect(unnamed.map((fd) => readFileSync(join(files, fd), "latin1"))).toEqual(unnamed.map(() => ""));
}

describe("an engine that is killed while it opens an export", () => {
  it.each(["openat", "clone3,clone,vfork,fork", "connect", "chmod,fchmodat", "ftruncate"])(
    "before any %s, leaves what the next open goes on with",
    async (call) => {
      let kills = 0;
      // the program itself is loaded by many calls before its own ones
      const stride = call === "openat" ? 25 : 1;
      for (let nth = 1; ; nth += stride) {
        const ending = await engine("open", call, nth);
        expectNoPlainFile();
        await expectWorks();
        if (ending !== "killed") {
          expect(ending).toBe("done");
          break;
        }
        kills++;
      }
      expect(kills).toBeGreaterThan(0);
    },
    300_000,
  );

  it("leaves nothing that the reaper does not take away", async () => {
    expect(await engine("open", "connect", 1)).toBe("killed");
    expect(workshop.daemons()).toHaveLength(1);
    await closeIdleExports(0, workshop.resources);
    expect(workshop.left()).toEqual([]);
    expect(workshop.daemons()).toEqual([]);
  });
});

describe("an engine that is killed while it closes an export", () => {
  it.each(["connect", "unlink", "write"])(
    "before any %s, leaves what the next call goes on with, and what was written",
    async (call) => {
      let kills = 0;
      const stride = call === "write" ? 7 : 1;
      for (let nth = 1; ; nth += stride) {
        writeBytes(await workshop.open(), 8192, Buffer.alloc(4096, nth));
        const ending = await engine("close", call, nth);
        expectNoPlainFile();
        expect(readBytes(await workshop.open(), 8192, 1)[0]).toBe(nth % 256);
        await expectWorks();
        if (ending !== "killed") {
          expect(ending).toBe("done");
          break;
        }
        kills++;
      }
      expect(kills).toBeGreaterThan(0);
    },
    300_000,
  );
});
