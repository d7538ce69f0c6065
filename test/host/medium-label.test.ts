import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { mediumLabel } from "../../src/host/medium-label.js";
import { temporaryDirectory } from "../fs/tree.js";
import { isoImage } from "./iso-image.js";

function file(content: Uint8Array): string {
  const path = join(temporaryDirectory(), "medium");
  writeFileSync(path, content);
  return path;
}

/** A FAT boot sector as mkfs.fat writes it, as far as its label goes. */
function fat(type: string, at: number, label: string): Buffer {
  const sector = Buffer.alloc(512);
  sector.write(label.padEnd(11), at, "latin1");
  sector.write(type.padEnd(8), at + 11, "latin1");
  return sector;
}

it.each([
  ["an ISO image", isoImage("config-2"), "config-2"],
  ["a label as long as can be", isoImage("x".repeat(32)), "x".repeat(32)],
  ["a FAT16 image", fat("FAT16", 43, "CONFIG-2"), "CONFIG-2"],
  ["a FAT32 image", fat("FAT32", 71, "cidata"), "cidata"],
  ["no file system", Buffer.alloc(65536), undefined],
  ["an empty file", Buffer.alloc(0), undefined],
  ["a file that ends within the descriptor", isoImage("cidata").subarray(0, 16 * 2048 + 3), undefined],
])("%s", (_, content, label) => {
  expect(mediumLabel(file(content))).toBe(label);
});

it("waits for no pipe, and takes what is not there for what has no label", () => {
  const directory = temporaryDirectory();
  execFileSync("mkfifo", [join(directory, "pipe")]);
  for (const name of ["pipe", "absent", "."]) expect(mediumLabel(join(directory, name))).toBeUndefined();
});
