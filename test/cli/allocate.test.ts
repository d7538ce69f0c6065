import { statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createProgram } from "../../src/cli/program.js";
import { temporaryDirectory, treeOf } from "../fs/tree.js";

const MIB = 1024 ** 2;
let stdout: string[];

beforeEach(() => {
  stdout = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => stdout.push(String(text)) > 0);
  // where commander says what it also throws
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
});
afterEach(() => vi.restoreAllMocks());

/** What `luksmith allocate ARGS` prints. */
async function allocate(...args: string[]): Promise<string> {
  await createProgram().parseAsync(["node", "luksmith", "allocate", ...args]);
  return stdout.splice(0).join("");
}

const raw = (...args: string[]) => allocate("--backend", "raw", ...args);

describe("allocate", () => {
  it("makes a volume as large as its header and the guest's disk, and says so", async () => {
    const path = join(temporaryDirectory(), "it's new.img");

    expect(await raw(path, "6M")).toBe(`made ${path} of 8 MiB for a disk of 6 MiB\n`);
    expect(statSync(path)).toMatchObject({ size: 8 * MIB, blocks: 0 });
  });

  it("takes sizes to the byte, and rounds them up to sectors", async () => {
    const path = join(temporaryDirectory(), "a.img");
    await raw(path, String(5 * MIB + 1));

    expect(statSync(path).size).toBe(7 * MIB + 512);
  });

  it("touches no volume that exists, and finds it in a dry run as well", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "a.img");
    await raw(path, "6M");
    const before = treeOf(directory);

    for (const more of [[], ["--dry-run"]])
      await expect(raw(path, "6M", ...more)).rejects.toMatchObject({ code: "VOLUME_EXISTS" });
    expect(treeOf(directory)).toEqual(before);
  });

  it("says with --dry-run what it would do, and does nothing", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "a.img");

    expect(await raw(path, "1536K", "--dry-run")).toBe(`would make ${path} for a disk of 1536 KiB\n`);
    expect(treeOf(directory)).toEqual({});
  });

  it("leaves nothing of a volume that it could not make", async () => {
    const directory = temporaryDirectory();

    await expect(raw(join(directory, "missing", "a.img"), "6M")).rejects.toMatchObject({
      code: "VOLUME_ALLOCATE_FAILED",
      why: expect.stringContaining("no such file or directory") as string,
    });
    expect(treeOf(directory)).toEqual({});
  });

  it("makes no block devices, and says what can be made", async () => {
    await expect(allocate("--backend", "block", "/dev/new", "6M")).rejects.toMatchObject({
      code: "VOLUME_UNSUPPORTED",
      why: expect.stringMatching(/\braw\b/) as string,
      hint: expect.stringContaining("2 MiB") as string,
    });
  });

  it.each<[string, string[], RegExp]>([
    ["a relative path", ["--backend", "raw", "a.img", "6M"], /names no volume of storage raw/],
    ["a path with control characters", ["--backend", "raw", "/srv/a\n.img", "6M"], /names no volume/],
    ["an RBD image on other storage", ["--backend", "raw", "rbd:vms/a", "6M"], /names no volume/],
    ["a pool for files", ["--backend", "raw", "--pool", "p", "/srv/a.img", "6M"], /raw has no pools/],
    ["no size", ["--backend", "raw", "/srv/a.img"], /missing required argument 'size'/],
    ["a decimal size", ["--backend", "raw", "/srv/a.img", "6MB"], /'6MB' is invalid.*number of bytes/],
    ["a relative size", ["--backend", "raw", "/srv/a.img", "+6M"], /is invalid/],
    ["no storage", ["/srv/a.img", "6M"], /--backend/],
    ["unknown storage", ["--backend", "tape", "/srv/a.img", "6M"], /Allowed choices are raw, qcow2/],
  ])("is not taken in by %s", async (_, args, message) => {
    await expect(allocate(...args)).rejects.toThrow(message);
    expect(stdout).toEqual([]);
  });
});
