import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { liesOnDmCrypt } from "../../src/host/block-stack.js";
import { swapPlaces } from "../../src/host/host-swap.js";
import { temporaryDirectory } from "../fs/tree.js";
import { DmDevice } from "../lab/device-mapper.js";
import { LoopDevice } from "../lab/loop-device.js";

const SIZE = 16 * 1024 * 1024;

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: "utf8", input: "pass" });
}

/** An ext4 file system, mounted. */
function mounted(device: string): string {
  const directory = join(temporaryDirectory(), "mount");
  mkdirSync(directory);
  run("mkfs.ext4", "-q", device);
  run("mount", device, directory);
  onTestFinished(() => void run("umount", directory));
  return directory;
}

function dmCrypt(device: string, name: string, ...options: string[]): string {
  run(
    "cryptsetup",
    "open",
    "--type",
    "plain",
    "--cipher",
    "aes-xts-plain64",
    "--key-size",
    "256",
    ...options,
    device,
    name,
  );
  onTestFinished(() => void run("cryptsetup", "close", name));
  return `/dev/mapper/${name}`;
}

function loop(): LoopDevice {
  const device = new LoopDevice(SIZE);
  onTestFinished(() => device[Symbol.dispose]());
  return device;
}

/** Another device of device-mapper that is the same as this one. */
function linear(device: string): string {
  const dm = new DmDevice({ kind: "linear", size: SIZE, device });
  onTestFinished(() => dm[Symbol.dispose]());
  return dm.path;
}

it("sees dm-crypt under a device, under a file system, under an image file there, and under dm of another kind", () => {
  const plain = loop();
  expect(liesOnDmCrypt(plain.path)).toBe(false);
  const crypt = dmCrypt(plain.path, "stack-crypt");
  expect(liesOnDmCrypt(crypt)).toBe(true);
  const over = linear(crypt);
  expect(liesOnDmCrypt(over)).toBe(true);
  const file = join(mounted(over), "image");
  writeFileSync(file, Buffer.alloc(1024 * 1024));
  expect(liesOnDmCrypt(file)).toBe(true);
  const inner = run("losetup", "--find", "--show", file).trim();
  onTestFinished(() => void run("losetup", "--detach", inner));
  expect(liesOnDmCrypt(inner)).toBe(true);
});

it("takes nothing for encrypted that is not, or not there, or that nobody can tell", () => {
  const over = linear(loop().path);
  const file = join(mounted(over), "image");
  writeFileSync(file, "");
  for (const path of [over, file, "/absent", "/proc/self/stat"])
    expect(liesOnDmCrypt(path), path).toBe(false);
});

it("a swap over dm-crypt is encrypted", () => {
  const crypt = dmCrypt(loop().path, "stack-swap");
  const table = join(temporaryDirectory(), "swaps");
  writeFileSync(table, `Filename Type\n${crypt} partition 1 0 -2\n`);
  expect(swapPlaces(table)).toMatchObject([{ protection: "encrypted", where: crypt }]);
});
