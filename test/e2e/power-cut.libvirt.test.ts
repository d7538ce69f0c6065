import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { runInUml } from "../lab/uml.js";
import { CUTS, type Facts } from "./support/power-cut-machine.js";
import { MIB } from "./support/volumes.js";

const TIMEOUT = 600_000;

function newDisk(size: number): string {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-disk-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "disk");
  writeFileSync(path, "");
  truncateSync(path, size);
  return path;
}

function boot(number: number, disks: readonly string[]) {
  const program = ["--import", "tsx", "test/e2e/support/power-cut-machine.ts", String(number)];
  return runInUml([process.execPath, ...program], { disks, timeout: TIMEOUT / 2 });
}

it(
  "a host whose power goes in the middle of protect loses no key, and protect finishes",
  { timeout: TIMEOUT },
  async () => {
    const disks = [newDisk(128 * MIB), newDisk(256 * MIB)];
    for (let number = 0; number < CUTS; number++)
      await expect(boot(number, disks)).rejects.toThrow(/its kernel died[^]*sysrq triggered crash/);
    const { exitCode, output, results } = await boot(CUTS, disks);

    expect({ exitCode, output }).toEqual({ exitCode: 0, output: "" });
    const facts = JSON.parse(results.get("facts") ?? "[]") as Facts[];
    expect(facts).toHaveLength(CUTS);
    for (const [index, { key, cutAt, left, ...seen }] of facts.entries()) {
      expect(Object.values(left).flat(), cutAt).toEqual([]);
      expect(seen, cutAt).toEqual({
        unsyncedIsThere: false,
        exitCode: 0,
        stderr: "",
        header: key,
        // of the guest that nobody disturbed, and one of each that was
        states: Array.from({ length: index + 2 }, () => "active"),
        wrote: "read 65536/65536",
        otherIsUnchanged: true,
      });
    }
  },
);
