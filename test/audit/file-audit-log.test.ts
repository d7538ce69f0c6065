import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf, entryAfter, parseEntry } from "../../src/audit/entry.js";
import { readHead } from "../../src/audit/chain-file.js";
import { temporaryDirectory } from "../fs/tree.js";
import { codeOf } from "../storage/workshop.js";
import { AuditWorld, use } from "./audit-world.js";

let directory: string;
let world: AuditWorld;

beforeEach(() => {
  directory = temporaryDirectory("/dev/shm");
  world = new AuditWorld(directory);
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function entries() {
  return world.lines.map(parseEntry);
}

describe("the audit log", () => {
  it("has a line for each use, with the hash of the one before", async () => {
    await world.log.record(use("vda"), use("vdb"));
    await world.log.record(use("vdc", { result: "refused", code: "KEY_NOT_FOUND" }));
    const [first, second, third] = entries();
    expect([first?.seq, second?.seq, third?.seq]).toEqual([1, 2, 3]);
    expect(second?.previous).toBe(first?.hash);
    expect(third?.previous).toBe(second?.hash);
    expect(third).toMatchObject({ event: "provide", disk: "vdc", result: "refused", code: "KEY_NOT_FOUND" });
    expect(statSync(world.file).mode & 0o777).toBe(0o600);
  });

  it("has one chain, whatever number of processes write at once", async () => {
    const others = [world.log, world.another(), world.another(), world.another()];
    await Promise.all(others.flatMap((log) => Array.from({ length: 25 }, () => log.record(use()))));
    const all = entries();
    expect(all.map((entry) => entry?.seq)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    for (const [i, entry] of all.entries()) if (i > 0) expect(entry?.previous).toBe(all[i - 1]?.hash);
    expect(readHead(world.file)).toEqual({ seq: 100, hash: all[99]?.hash });
  });

  it("goes on in a new file when it was rotated away, also without the file beside it", async () => {
    await world.log.record(use());
    const [first] = entries();
    renameSync(world.file, `${world.file}.1`);
    await world.log.record(use());
    expect(entries()[0]).toMatchObject({ seq: 2, previous: first?.hash });
    renameSync(world.file, `${world.file}.1`);
    rmSync(`${world.file}.head`);
    await world.log.record(use());
    expect(entries()[0]).toMatchObject({ seq: 3 });
  });

  it("goes on in a file that was emptied in its place", async () => {
    await world.log.record(use());
    truncateSync(world.file, 0);
    await world.log.record(use());
    expect(entries()[0]).toMatchObject({ seq: 2 });
  });

  it.each([1, 20, "all but the line end"] as const)(
    "closes off a line of which a power cut has left %s",
    async (left) => {
      await world.log.record(use());
      const end = readHead(world.file);
      if (end === undefined) throw new Error("no head");
      const frame = { time: new Date(), host: "h", by: { uid: 0, command: "luksmith" } };
      const { line } = entryAfter(end, use("vdz"), frame);
      appendFileSync(world.file, left === "all but the line end" ? line : line.slice(0, left));
      await world.log.record(use("vdb"));
      const [, torn, note, next] = entries();
      expect(note).toMatchObject({ event: "note", seq: 2, previous: end.hash });
      expect(next).toMatchObject({ disk: "vdb", seq: 3, previous: note?.hash });
      if (left !== "all but the line end") expect(torn).toBeUndefined();
    },
  );

  it("notes that entries which it has written are gone", async () => {
    for (const disk of ["vda", "vdb", "vdc"]) await world.log.record(use(disk));
    const [first = "", , third = ""] = world.lines;
    world.lines = [first];
    await world.log.record(use("vdd"));
    const note = entries()[1];
    expect(note).toMatchObject({ event: "note", missing: { seq: 3, hash: parseEntry(third)?.hash }, seq: 4 });
    expect(entries()[2]).toMatchObject({ disk: "vdd", seq: 5 });
  });

  it("removes the lock of a process that was killed, and waits for one that lives", async () => {
    const lock = join(directory, "lock");
    await world.log.record(use());
    expect(readdirSync(lock)).toEqual([]);
    const path = join(lock, `audit-${digestOf(world.file).slice(0, 16)}`);
    symlinkSync("999999.1", path);
    await world.log.record(use());
    expect(world.lines).toHaveLength(2);
    const stat = readFileSync(`/proc/${process.pid}/stat`, "latin1");
    symlinkSync(`${process.pid}.${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`, path);
    await world.log.record(use());
    expect(world.lines).toHaveLength(2);
    expect(world.logger.warnings[0]?.message).toContain("another process holds it");
  });

  it("takes less than 5 ms for all disks of a start", async () => {
    const uses = Array.from({ length: 8 }, (_, i) => use(`vd${i}`));
    await world.log.record(...uses);
    const times: number[] = [];
    for (let i = 0; i < 50; i++) {
      const started = performance.now();
      await world.log.record(...uses);
      times.push(performance.now() - started);
    }
    expect(times.sort((a, b) => a - b)[25]).toBeLessThan(5);
  });
});

describe("an audit log that cannot be written", () => {
  beforeEach(() => {
    // root may write everywhere but into a file's inside
    writeFileSync(join(directory, "file"), "");
    world = new AuditWorld(join(directory, "file"), { locks: join(directory, "lock") });
  });

  it("is a warning, once, where the settings do not require it", async () => {
    world.log.requireWritable();
    await world.log.record(use());
    await world.log.record(use());
    expect(world.logger.warnings).toHaveLength(1);
  });

  it("is an error before and after a use where they do", async () => {
    const log = world.another({ required: true });
    expect(() => {
      log.requireWritable();
    }).toThrow(expect.objectContaining({ code: "AUDIT_UNWRITABLE" }) as Error);
    expect(await codeOf(log.record(use()))).toBe("AUDIT_UNWRITABLE");
  });

  it("is never a symbolic link", async () => {
    const here = new AuditWorld(directory, { required: true });
    symlinkSync(join(directory, "elsewhere"), here.file);
    expect(await codeOf(here.log.record(use()))).toBe("AUDIT_UNWRITABLE");
  });
});
