import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { swapPlaces } from "../../src/host/host-swap.js";
import { temporaryDirectory } from "../fs/tree.js";

function places(...lines: string[]): string[] {
  const table = join(temporaryDirectory(), "swaps");
  writeFileSync(table, ["Filename\tType\tSize\tUsed\tPriority", ...lines, ""].join("\n"));
  return swapPlaces(table).map(({ protection, where = "" }) => `${protection} ${where}`);
}

it("a swap that no dm-crypt lies under can hold plaintext, and memory that is compressed cannot", () => {
  expect(places("/dev/zram0 partition 100 0 100", "/swap\\040file file 100 0 -2")).toEqual([
    "possible /swap file",
  ]);
});

it("a host without swap, or without /proc, has none", () => {
  expect(places()).toEqual([]);
  expect(swapPlaces("/absent")).toEqual([]);
});
