import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFile, makeDirectory, removeFile, replaceFile } from "../../src/fs/atomic-file.js";
import { temporaryDirectory, treeOf } from "./tree.js";

const BYTES = Buffer.from("content");

describe("atomic files", () => {
  it.each([
    ["created", createFile],
    ["replaced", replaceFile],
  ])("that are %s have the mode that was asked for, whatever the umask", (_, write) => {
    for (const mask of [0, 0o077, 0o777]) {
      const directory = temporaryDirectory();
      const umask = process.umask(mask);
      try {
        write(join(directory, "file"), BYTES, 0o644);
      } finally {
        process.umask(umask);
      }
      expect(treeOf(directory)).toEqual({ file: expect.stringMatching(/^644 /) as string });
    }
  });

  it("are created once: a name that is taken stays what it was", () => {
    const directory = temporaryDirectory();
    const path = join(directory, "file");
    expect(createFile(path, BYTES, 0o600)).toBe("created");
    expect(createFile(path, Buffer.from("other"), 0o600)).toBe("exists");
    expect(readFileSync(path)).toEqual(BYTES);
    expect(Object.keys(treeOf(directory))).toEqual(["file"]);
  });

  it("are replaced whole, mode included", () => {
    const path = join(temporaryDirectory(), "file");
    writeFileSync(path, "something longer than that", { mode: 0o666 });
    replaceFile(path, BYTES, 0o600);
    expect(readFileSync(path)).toEqual(BYTES);
    expect(statSync(path).mode & 0o7777).toBe(0o600);
  });

  it("leave nothing behind when their name cannot be given", () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, "taken/by-a-directory"), { recursive: true });
    const before = treeOf(directory);
    expect(() => replaceFile(join(directory, "taken"), BYTES, 0o600)).toThrow(/EISDIR|ENOTEMPTY/);
    expect(createFile(join(directory, "taken"), BYTES, 0o600)).toBe("exists");
    expect(treeOf(directory)).toEqual(before);
  });

  it("are removed once, and that twice is no failure", () => {
    const directory = temporaryDirectory();
    const path = join(directory, "file");
    writeFileSync(path, "");
    removeFile(path);
    removeFile(path);
    expect(treeOf(directory)).toEqual({});
  });
});

describe("directories", () => {
  it("are made with their parents, and left alone when they are there", () => {
    const directory = temporaryDirectory();
    makeDirectory(join(directory, "a/b/c"), 0o700);
    chmodSync(join(directory, "a"), 0o755);
    makeDirectory(join(directory, "a/b/c/"), 0o700);
    makeDirectory(join(directory, "a/b/../d"), 0o700);
    expect(treeOf(directory)).toEqual({ a: "755", "a/b": "700", "a/b/c": "700", "a/d": "700" });
  });
});
