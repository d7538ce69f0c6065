import { execa } from "execa";
import { once } from "node:events";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { writerOf } from "../../../src/encryption/dm-crypt/volume-writer.js";
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
