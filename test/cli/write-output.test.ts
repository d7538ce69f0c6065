import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import { writeStandardOutput } from "../../src/cli/write-output.js";
import { smallDisk } from "../fs/small-disk.js";
import { temporaryDirectory } from "../fs/tree.js";

const unwritable = { code: "OUTPUT_UNWRITABLE" };

function opened(path: string, flags = "w"): number {
  const fd = openSync(path, flags);
  onTestFinished(() => {
    closeSync(fd);
  });
  return fd;
}

/** A program in a pipe after us, and the pipe's writing end. */
async function reader(script: string) {
  const writer = `
    import { writeStandardOutput } from ${JSON.stringify(new URL("../../src/cli/write-output.ts", import.meta.url).href)};
    void process.stdout.writableLength;
    try {
      writeStandardOutput(Buffer.alloc(1_000_000, "x"));
      process.stderr.write("all");
    } catch (error) {
      process.stderr.write(error.code);
    }`;
  const command = `${process.execPath} --import tsx --input-type=module -e '${writer}' | ${script}`;
  const child = spawn("bash", ["-c", command], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr] = [textOf(child.stdout), textOf(child.stderr)];
  await once(child, "close");
  return { stdout: stdout(), stderr: stderr() };
}

function textOf(stream: Readable): () => string {
  let text = "";
  stream.on("data", (bytes) => (text += String(bytes)));
  return () => text;
}

describe("standard output that must arrive", () => {
  it("is in the file when it returns", () => {
    const path = join(temporaryDirectory(), "output");
    writeStandardOutput(Buffer.from("all of it\n"), opened(path));
    expect(readFileSync(path, "utf8")).toBe("all of it\n");
  });

  it("is a failure when the disk is full, also in the middle of it", () => {
    const disk = smallDisk();
    const fd = opened(join(disk.path, "output"));
    expect(() => writeStandardOutput(Buffer.alloc(1_000_000), fd)).toThrow(
      expect.objectContaining({ ...unwritable, why: expect.stringContaining("no space left") as string }),
    );
  });

  it("is a failure when it was closed", () => {
    const fd = opened("/dev/null", "r");
    expect(() => writeStandardOutput(Buffer.from("x"), fd)).toThrow(expect.objectContaining(unwritable));
  });

  it("goes whole through a pipe whose reader is slow", async () => {
    expect(await reader("{ sleep 1; wc -c; }")).toEqual({ stdout: "1000000\n", stderr: "all" });
  });

  it("is a failure when the reader goes away", async () => {
    expect(await reader("head -c 10")).toEqual({ stdout: "xxxxxxxxxx", stderr: "OUTPUT_UNWRITABLE" });
  });
});
