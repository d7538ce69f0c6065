import { closeSync, existsSync, openSync, readSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DmDevice, type Target } from "./device-mapper.js";
import { LoopDevice } from "./loop-device.js";

const MIB = 1024 * 1024;
const SIZE = 8 * MIB;

let loop: LoopDevice;
let sound: Target;
beforeEach(() => {
  loop = new LoopDevice(SIZE);
  writeFileSync(loop.path, Buffer.alloc(SIZE, "A"), { flag: "r+", flush: true });
  sound = { kind: "linear", size: SIZE, device: loop.path };
});
afterEach(() => loop[Symbol.dispose]());

/** The first byte. Whoever opens a device first finds nothing of it cached. */
function firstByte(path: string): string {
  const fd = openSync(path, "r");
  try {
    return byteAt(fd, 0);
  } finally {
    closeSync(fd);
  }
}

function byteAt(fd: number, position: number): string {
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  return byte.toString("latin1");
}

function write(path: string, text: string): void {
  writeFileSync(path, text, { flag: "r+", flush: true });
}

test("a linear target is the device below", () => {
  using device = new DmDevice(sound);

  write(device.path, "B");

  expect(firstByte(device.path)).toBe("B");
  expect(firstByte(loop.path)).toBe("B");
});

test("targets follow each other, from any offset", () => {
  write(loop.path, "B");
  using device = new DmDevice(
    { kind: "zero", size: MIB },
    { kind: "linear", size: MIB, device: loop.path, offset: MIB },
    { kind: "linear", size: MIB, device: loop.path },
    { kind: "error", size: MIB },
  );
  const fd = openSync(device.path, "r");

  expect([0, 1, 2].map((mib) => byteAt(fd, mib * MIB))).toEqual(["\0", "A", "B"]);
  expect(() => byteAt(fd, 3 * MIB)).toThrow("EIO");

  closeSync(fd);
});

test("an open device fails once its target is error, and recovers with it", () => {
  using device = new DmDevice(sound);
  const fd = openSync(device.path, "r+");

  device.become({ kind: "error", size: SIZE });
  expect(() => byteAt(fd, 0)).toThrow("EIO");
  expect(() => write(device.path, "B")).toThrow("EIO");
  device.become(sound);
  expect(byteAt(fd, 4 * MIB)).toBe("A");

  closeSync(fd);
});

test("a zero target forgets what is written", () => {
  using device = new DmDevice({ kind: "zero", size: SIZE });

  write(device.path, "B");

  expect(firstByte(device.path)).toBe("\0");
});

test("a delay target answers late", () => {
  using device = new DmDevice({ kind: "delay", size: SIZE, device: loop.path, read: 300, write: 0 });
  const began = performance.now();

  expect(firstByte(device.path)).toBe("A");

  expect(performance.now() - began).toBeGreaterThanOrEqual(300);
});

test("a flakey target that is down fails, or only fails writes, or only loses them", () => {
  const down = { kind: "flakey", size: SIZE, device: loop.path, up: 0, down: 60 } as const;
  using failing = new DmDevice(down);
  using readable = new DmDevice({ ...down, features: ["error_writes"] });
  using forgetful = new DmDevice({ ...down, features: ["drop_writes"] });

  expect(() => firstByte(failing.path)).toThrow("EIO");
  expect(firstByte(readable.path)).toBe("A");
  expect(() => write(readable.path, "B")).toThrow("EIO");
  write(forgetful.path, "B");

  expect([forgetful, loop].map(({ path }) => firstByte(path))).toEqual(["A", "A"]);
});

test("whoever reads a suspended device waits for it", async () => {
  using device = new DmDevice(sound);
  await using file = await open(device.path);
  device.suspend();

  const reading = file.read(Buffer.alloc(1), 0, 1, 0);
  const waiting = setTimeout(300, "waiting");
  expect(await Promise.race([reading, waiting])).toBe("waiting");
  device.resume();

  expect((await reading).bytesRead).toBe(1);
});

test("is gone when it is disposed of", () => {
  let path: string;
  {
    using device = new DmDevice(sound);
    path = device.path;
    expect(existsSync(path)).toBe(true);
  }

  expect(existsSync(path)).toBe(false);
});
