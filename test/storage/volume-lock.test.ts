import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { codeOf } from "./workshop.js";

describe("VolumeLocks", () => {
  let root: string;
  let directory: string;
  let runner: RecordingCommandRunner;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "luksmith-lock-"));
    directory = join(root, "deep", "lock");
    runner = new RecordingCommandRunner();
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const locks = (patience?: number) => new VolumeLocks(runner, directory, patience);

  it("lets one work after the other", async () => {
    const story: string[] = [];
    const work = (name: string) => async () => {
      story.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      story.push(`${name} ends`);
    };
    await Promise.all(["a", "b", "c"].map((name) => locks().hold("one volume", work(name))));
    expect(story).toHaveLength(6);
    for (let turn = 0; turn < 6; turn += 2) expect(story[turn]!.at(0)).toBe(story[turn + 1]!.at(0));
  });

  it("does not let two volumes wait for each other", async () => {
    const result = await locks().hold("one volume", () =>
      locks(0).hold("another", () => Promise.resolve("done")),
    );
    expect(result).toBe("done");
  });

  it("gives up after its patience", async () => {
    const inner = () => locks(0.05).hold("one volume", () => Promise.resolve());
    expect(await codeOf(locks().hold("one volume", inner))).toBe("LOCK_TIMEOUT");
    await locks(0).hold("one volume", () => Promise.resolve());
  });

  it("is released when the work fails", async () => {
    await expect(locks().hold("one volume", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    await locks(0).hold("one volume", () => Promise.resolve());
  });

  it("tells whether anybody shares a lock, and whether anybody ever has", async () => {
    expect(locks().wasShared("one volume")).toBe(false);
    expect(await locks().isShared("one volume")).toBe(false);
    expect(runner.commands).toEqual([]);
    const first = await locks().share("one volume");
    const second = await locks(0).share("one volume");
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(await locks().isShared("one volume")).toBe(true);
    expect(await locks().isShared("another")).toBe(false);
    second[Symbol.dispose]();
    expect(await locks().isShared("one volume")).toBe(false);
    expect(locks().wasShared("one volume")).toBe(true);
  });

  it("is released by the kernel when its holder is killed", async () => {
    await locks().hold("one volume", () => Promise.resolve());
    const file = join(directory, readdirSync(directory)[0]!);
    const script = 'exec 3<>"$1"; flock -x 3; echo held; read _';
    const holder = spawn("sh", ["-c", script, "sh", file], { stdio: ["pipe", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    expect(await codeOf(locks(0).hold("one volume", () => Promise.resolve()))).toBe("LOCK_TIMEOUT");
    const result = locks().hold("one volume", () => Promise.resolve("done"));
    holder.kill("SIGKILL");
    expect(await result).toBe("done");
  });

  it("outlasts its work in a child that inherited it", async () => {
    const child = await locks().hold("one volume", (fd) => {
      const stdio: ("pipe" | number)[] = ["pipe", "pipe", "pipe", fd];
      return Promise.resolve(spawn("cat", { stdio }));
    });
    expect(await codeOf(locks(0).hold("one volume", () => Promise.resolve()))).toBe("LOCK_TIMEOUT");
    const result = locks().hold("one volume", () => Promise.resolve("done"));
    child.stdin?.end();
    expect(await result).toBe("done");
  });

  it("asks flock for the lock on a descriptor that it was given", async () => {
    await locks(7).hold("one volume", () => Promise.resolve());
    expect(runner.lines).toEqual(["flock -x -w 7 -E 75 3"]);
  });

  it("keeps its files from others, and tells no names", async () => {
    await locks().hold("/srv/vm/secret-project.img", () => Promise.resolve());
    const [name] = readdirSync(directory);
    expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, name!)).mode & 0o777).toBe(0o600);
  });

  it("says so when nothing can be made where the directory is to be, and does not try for ever", async () => {
    const locks = new VolumeLocks(runner, "/proc/luksmith/lock");
    expect(await codeOf(locks.hold("/images/a.img", () => Promise.resolve()))).toBe("NOT_PERMITTED");
  });

  it("says so when the directory cannot be made", async () => {
    writeFileSync(join(root, "deep"), "a file in the way");
    expect(await codeOf(locks().hold("one volume", () => Promise.resolve()))).toBe("NOT_PERMITTED");
  });
});
