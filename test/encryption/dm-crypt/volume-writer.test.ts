import { execa } from "execa";
import { once } from "node:events";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { refuseUsed } from "../../../src/encryption/dm-crypt/volume-check.js";
import { writerOf } from "../../../src/encryption/dm-crypt/volume-writer.js";
import type { PathVolume } from "../../../src/storage/volume.js";
import { VolumeFile } from "../../../src/storage/volume-file.js";
import { temporaryDirectory } from "../../fs/tree.js";

function imageFile(name: string): string {
  const path = join(temporaryDirectory(), name);
  writeFileSync(path, "");
  truncateSync(path, 1024 * 1024);
  return path;
}

async function look(path: string): Promise<string | undefined> {
  await using file = await VolumeFile.open(path, "read");
  return writerOf(file);
}

it("tells a QEMU that may write to an image file from one that only reads it, and from none", async () => {
  const [path, another] = [imageFile("disk.img"), imageFile("another.img")];
  const qemu = (...args: string[]) =>
    execa("qemu-io", [...args, "-f", "raw", path], { stdin: "pipe", reject: false });
  const writer = qemu();
  await vi.waitFor(
    async () => expect(await look(path)).toBe("a QEMU process has it open for writing"),
    10_000,
  );
  expect(await look(another)).toBeUndefined();
  writer.stdin.end();
  await writer;
  expect(await look(path)).toBeUndefined();
  const reader = qemu("-r");
  reader.stdin.write("read 0 512\n");
  await once(reader.stdout, "data");
  expect(await look(path)).toBeUndefined();
  reader.stdin.end();
  await reader;
});

describe("a volume that is to be opened", () => {
  const openIt = async (path: string) => {
    const volume: PathVolume = { kind: "file", path, format: "raw" };
    await using file = await VolumeFile.open(path, "read");
    await refuseUsed(file, { volume });
  };

  it("is refused while a QEMU may write to it, and waited for where that ends at once", async () => {
    const path = imageFile("disk.img");
    const writer = execa("qemu-io", ["-f", "raw", path], { stdin: "pipe", reject: false });
    await vi.waitFor(async () => expect(await look(path)).toBeDefined(), 10_000);
    await expect(openIt(path)).rejects.toMatchObject({ code: "VOLUME_BUSY" });
    const opening = openIt(path);
    await setTimeout(300);
    writer.stdin.end();
    await opening;
    await writer;
  });
});
