import { spawnSync } from "node:child_process";
import { existsSync, fstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openMemoryFile, secretFile } from "../../src/secret/secret-file.js";
import { Secret } from "../../src/secret/secret.js";

const TEXT = "correct horse battery staple";
let secret: Secret;

beforeEach(() => {
  secret = Secret.own(Buffer.from(TEXT));
});
afterEach(() => secret.dispose());

describe("a secret file", () => {
  test("holds exactly the secret's bytes", () => {
    using file = secretFile(secret);

    expect(readFileSync(`/proc/self/fd/${file.fd}`, "utf8")).toBe(TEXT);
  });

  test("gives all of them to a child that inherits the descriptor", () => {
    using file = secretFile(secret);
    const child = spawnSync("cat", ["/proc/self/fd/3"], { stdio: ["ignore", "pipe", "pipe", file.fd] });

    expect(child.stdout.toString()).toBe(TEXT);
  });

  test("stays closed to a child that was not given it", () => {
    using file = secretFile(secret);
    const child = spawnSync("ls", ["-l", "/proc/self/fd"]);

    expect(child.status).toBe(0);
    expect(child.stdout.toString()).not.toContain(nameOf(file.fd));
  });

  test("has no name on any disk, only memory behind it, and is for root alone", () => {
    using file = secretFile(secret);
    const { nlink, mode, uid } = fstatSync(file.fd);

    expect(nameOf(file.fd)).toMatch(/^\/(run|dev\/shm)\/#\d+ \(deleted\)$/);
    expect({ nlink, permissions: mode & 0o7777, uid }).toEqual({
      nlink: 0,
      permissions: 0o600,
      uid: process.getuid!(),
    });
  });

  test("cannot be given a name later", () => {
    using file = secretFile(secret);
    const target = join(dirname(nameOf(file.fd)), `luksmith-test-${process.pid}`);
    const child = spawnSync("ln", ["-L", "/proc/self/fd/3", target], {
      stdio: ["ignore", "pipe", "pipe", file.fd],
    });

    expect(child.status).toBe(1);
    expect(existsSync(target)).toBe(false);
  });

  test("is closed by disposing of it", () => {
    const file = secretFile(secret);
    file[Symbol.dispose]();

    expect(() => fstatSync(file.fd)).toThrow("EBADF");
  });
});

test("a memory file has the size that was asked for, all zeros", () => {
  using file = openMemoryFile(4096);

  expect(readFileSync(`/proc/self/fd/${file.fd}`)).toEqual(Buffer.alloc(4096));
});

describe("on a host without usable memory file systems", () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** What secretFile answers in a mount namespace of its own, where `mounts` was run, and how many files it left open. */
  function answerAfter(mounts: string): string {
    const module = (path: string) => JSON.stringify(pathToFileURL(join("src/secret", path)).href);
    const script = `
      import { readdirSync } from "node:fs";
      const { secretFile } = await import(${module("secret-file.ts")});
      const { Secret } = await import(${module("secret.ts")});
      const openFiles = () => readdirSync("/proc/self/fd").length;
      const before = openFiles();
      try { secretFile(Secret.own(Buffer.alloc(8192, "x"))); console.log("no error"); }
      catch (error) { console.log(error.code, openFiles() - before); }`;
    const child = spawnSync(
      "unshare",
      ["--mount", "--propagation", "private", "sh", "-ec", `${mounts}\nexec "$@"`, "sh"].concat([
        process.execPath,
        ...["--import", "tsx", "--input-type=module", "--eval", script],
      ]),
      { encoding: "utf8" },
    );
    expect(child.stderr).toBe("");
    return child.stdout.trim();
  }

  test("refuses to put a secret on a disk", () => {
    const mounts = `for d in /run /dev/shm; do mount -n --bind '${directory}' $d; done`;

    expect(answerAfter(mounts)).toBe("SECRET_FILE_UNAVAILABLE 0");
    expect(readdirSync(directory)).toEqual([]);
  });

  test("says so when memory is full, and closes what it opened", () => {
    const mounts = "for d in /run /dev/shm; do mount -n -t tmpfs -o size=4k tmpfs $d; done";

    expect(answerAfter(mounts)).toBe("SECRET_FILE_UNAVAILABLE 0");
  });
});

function nameOf(fd: number): string {
  return readlinkSync(`/proc/self/fd/${fd}`);
}
