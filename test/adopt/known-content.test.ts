import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { knownContent, START } from "../../src/adopt/known-content.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The first bytes of a disk that other tools have written to. */
function diskBy(...commands: readonly (readonly [string, ...string[]])[]): Buffer {
  const path = join(directory, "disk");
  writeFileSync(path, "");
  truncateSync(path, 64 * 1024 * 1024);
  // a file: a tool that does not read what others need may end before a pipe has taken it
  const answers = join(directory, "answers");
  writeFileSync(answers, ",,L\n");
  for (const [tool, ...args] of commands) {
    const stdin = openSync(answers, "r");
    execFileSync(tool, [...args, path], { stdio: [stdin, "pipe", "pipe"] });
    closeSync(stdin);
  }
  return readFileSync(path).subarray(0, START);
}

test.each<[string, readonly [string, ...string[]]]>([
  ["ext file system", ["mkfs.ext4", "-q"]],
  ["ext file system", ["mkfs.ext2", "-q", "-b", "1024"]],
  ["swap space", ["mkswap"]],
  ["MBR partition table", ["sfdisk", "--label=dos"]],
  ["GPT partition table", ["sfdisk", "--label=gpt"]],
  ["LUKS header", ["cryptsetup", "luksFormat", "-q", "--type=luks1", "--pbkdf-force-iterations=1000"]],
])("a disk with %s is known", (content, command) => {
  expect(knownContent(diskBy(command))).toBe(content);
});

test("zeros and random bytes are nothing", () => {
  expect(knownContent(Buffer.alloc(START))).toBeUndefined();
  for (let i = 0; i < 100; i++) {
    const bytes = randomBytes(START);
    bytes.set([0x53, 0xef], 1080);
    bytes.set([0x55, 0xaa], 510);
    bytes.writeUInt32LE(0xffff, 1024 + 24);
    bytes[446] = 1;
    expect(knownContent(bytes)).toBeUndefined();
  }
});

test("a disk that ends early is no error", () => {
  expect(knownContent(Buffer.alloc(0))).toBeUndefined();
  expect(knownContent(Buffer.alloc(1090, 0x53))).toBeUndefined();
});
