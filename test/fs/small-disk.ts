import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { temporaryDirectory } from "./tree.js";

/** A tmpfs of its own, for faults of a file system. */
export interface SmallDisk {
  readonly path: string;
  /** Leaves no byte, or no inode, free. */
  fill(what: "bytes" | "inodes"): void;
  free(): void;
  remount(mode: "ro" | "rw"): void;
}

export function smallDisk(): SmallDisk {
  const path = join(temporaryDirectory(), "disk");
  mkdirSync(path);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,nr_inodes=64,mode=0755", "tmpfs", path]);
  // registered after the directory's removal, so it runs before it
  onTestFinished(() => void execFileSync("umount", [path]));
  const ballast = join(path, "ballast");
  return {
    path,
    fill: (what) => {
      mkdirSync(ballast);
      untilFull(what === "bytes" ? appendTo(join(ballast, "bytes")) : createIn(ballast));
    },
    free: () => rmSync(ballast, { recursive: true }),
    remount: (mode) => void execFileSync("mount", ["-o", `remount,${mode}`, path]),
  };
}

function untilFull(step: () => void): void {
  try {
    for (;;) step();
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOSPC")) throw thrown;
  }
}

function appendTo(path: string): () => void {
  return () => {
    const fd = openSync(path, "a");
    try {
      writeSync(fd, Buffer.alloc(4096));
    } finally {
      closeSync(fd);
    }
  };
}

function createIn(directory: string): () => void {
  let count = 0;
  return () => closeSync(openSync(join(directory, String(count++)), "w"));
}
