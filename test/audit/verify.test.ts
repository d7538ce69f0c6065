import { appendFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { readHead } from "../../src/audit/chain-file.js";
import { parseEntry } from "../../src/audit/entry.js";
import { logWithRotated } from "../../src/audit/log-files.js";
import { type Expectation, type Verification, verify } from "../../src/audit/verify.js";
import { runDriver } from "../fs/run-driver.js";
import { bundle } from "../fs/strace.js";
import { temporaryDirectory } from "../fs/tree.js";
import { AuditWorld, use } from "./audit-world.js";
import type { AppendOrder } from "./append-process.js";

let directory: string;
let world: AuditWorld;

beforeEach(async () => {
  directory = temporaryDirectory("/dev/shm");
  world = new AuditWorld(directory);
  for (const disk of ["vda", "vdb", "vdc", "vdd", "vde"]) await world.log.record(use(disk));
});

/** As `luksmith audit verify` does. */
function verified(expected: Expectation = {}): Verification {
  const head = readHead(world.file);
  return verify(logWithRotated(world.file), { ...expected, ...(head && { head }) });
}

describe("an audit log as it was written", () => {
  it("fits", () => {
    const { entries, first, last, broken, before, cutShort } = verified();
    expect({ entries, broken, before, cutShort }).toEqual({
      ...{ entries: 5, before: 0, cutShort: 0 },
      broken: undefined,
    });
    expect([first?.seq, last?.seq]).toEqual([1, 5]);
  });

  it("fits over rotated files, compressed or not, and says what is not there", async () => {
    const { last } = verified();
    renameSync(world.file, `${world.file}.1`);
    await world.log.record(use());
    writeFileSync(`${world.file}.2.gz`, gzipSync(readFileSync(`${world.file}.1`)));
    writeFileSync(`${world.file}.1`, readFileSync(world.file));
    writeFileSync(world.file, "");
    await world.log.record(use());
    expect(verified({ hash: last?.hash ?? "" })).toMatchObject({ entries: 7, before: 0, broken: undefined });
    const { bytes } = logWithRotated(world.file).at(-1) ?? { bytes: Buffer.alloc(0) };
    expect(verify([{ path: "one", bytes }])).toMatchObject({ entries: 1, before: 6, broken: undefined });
  });

  it("fits with a line that a power cut has torn, before and after it was closed off", async () => {
    appendFileSync(world.file, '{"seq":6,"time":"2026');
    expect(verified()).toMatchObject({ entries: 5, cutShort: 1, broken: undefined });
    await world.log.record(use());
    expect(verified()).toMatchObject({ entries: 7, cutShort: 1, broken: undefined });
  });

  it("has the entry whose hash was kept elsewhere, and is broken without it", () => {
    const third = parseEntry(world.lines[2] ?? "");
    expect(verified({ hash: third?.hash ?? "" }).broken).toBeUndefined();
    expect(verified({ hash: "0".repeat(64) }).broken?.reason).toContain("no entry has the hash");
  });
});

describe("a log that somebody has changed", () => {
  const CHANGES: readonly [name: string, line: number, change: (lines: string[]) => string[]][] = [
    ["a changed entry", 2, (l) => l.map((line, i) => (i === 1 ? line.replace('"vdb"', '"vdx"') : line))],
    ["a changed last entry", 5, (l) => l.map((line, i) => (i === 4 ? line.replace('"vde"', '"vdx"') : line))],
    [
      "another way to write the same",
      2,
      (l) => l.map((line, i) => (i === 1 ? line.replace(",", ", ") : line)),
    ],
    ["a removed entry", 2, (l) => l.filter((_, i) => i !== 1)],
    ["swapped entries", 2, ([a = "", b = "", c = "", ...rest]) => [a, c, b, ...rest]],
    ["an entry twice", 3, ([a = "", b = "", ...rest]) => [a, b, b, ...rest]],
    ["a line put in", 2, ([a = "", ...rest]) => [a, "{}", ...rest]],
    ["an empty line put in", 2, ([a = "", ...rest]) => [a, "", ...rest]],
    ["the last entry removed", 5, (l) => l.slice(0, -1)],
    ["the last entry cut short", 5, (l) => [...l.slice(0, -1), "{"]],
  ];

  it.each(CHANGES)("is found out: %s", (_name, line, change) => {
    world.lines = change(world.lines);
    expect(verified().broken?.line).toBe(line);
  });

  it.each(CHANGES)("is found out when the log went on since: %s", async (_name, _line, change) => {
    world.lines = change(world.lines);
    await world.log.record(use());
    await world.log.record(use());
    expect(verified().broken).toBeDefined();
  });

  it("is found out where an entry was put in with a hash that is right", async () => {
    const other = new AuditWorld(temporaryDirectory("/dev/shm"));
    await other.log.record(use());
    await other.log.record(use("vdz"));
    world.lines = [...world.lines.slice(0, 1), ...other.lines.slice(1), ...world.lines.slice(2)];
    expect(verified().broken?.line).toBe(2);
  });

  it("is not found out where all of it was written anew with the file beside it, but for what was kept", async () => {
    const { last } = verified();
    const forged = new AuditWorld(temporaryDirectory("/dev/shm"));
    for (let i = 0; i < 5; i++) await forged.log.record(use());
    world.lines = forged.lines;
    writeFileSync(`${world.file}.head`, readFileSync(`${forged.file}.head`));
    expect(verified().broken).toBeUndefined();
    expect(verified({ hash: last?.hash ?? "" }).broken).toBeDefined();
  });
});

describe("processes of their own", () => {
  const locks = () => join(directory, "lock");
  let driver: string;
  beforeEach(async () => {
    driver = await bundle(new URL("append-process.ts", import.meta.url).pathname, temporaryDirectory());
  });

  const append = (order: Partial<AppendOrder>) => {
    const usual: AppendOrder = { file: world.file, locks: locks(), times: 1, killedBefore: 0 };
    return runDriver(driver, { ...usual, ...order });
  };

  it("write one chain at once", { timeout: 60_000 }, async () => {
    await Promise.all([append({ times: 50 }), append({ times: 50 }), append({ times: 50 })]);
    expect(verified()).toMatchObject({ entries: 305, cutShort: 0, broken: undefined });
  });

  it("can be killed at any step of writing, and the next one goes on", { timeout: 120_000 }, async () => {
    const steps = Number(await append({}));
    expect(steps).toBeGreaterThan(5);
    for (let killedBefore = 1; killedBefore <= steps; killedBefore++) {
      expect(await append({ killedBefore })).toBe("killed");
      expect(verified().broken).toBeUndefined();
      await world.log.record(use());
      expect(verified().broken).toBeUndefined();
    }
  });
});
