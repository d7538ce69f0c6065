import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { runInUml } from "../lab/uml.js";
import { type Facts, TIMES } from "./support/power-cut-life-machine.js";
import { MIB } from "./support/volumes.js";

const TIMEOUT = 900_000;

function newDisk(size: number): string {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-disk-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "disk");
  writeFileSync(path, "");
  truncateSync(path, size);
  return path;
}

function boot(number: number, disks: readonly string[]) {
  const program = ["--import", "tsx", "test/e2e/support/power-cut-life-machine.ts", String(number)];
  return runInUml([process.execPath, ...program], { disks, timeout: TIMEOUT / 2 });
}

it(
  "a power cut in the middle of encryption, decryption or a rotation of a logical volume loses no byte and no key",
  { timeout: TIMEOUT },
  async () => {
    const disks = [newDisk(128 * MIB), newDisk(128 * MIB)];
    for (let number = 0; number < TIMES; number++)
      await expect(boot(number, disks)).rejects.toThrow(/its kernel died[^]*sysrq triggered crash/);
    const { exitCode, output, results } = await boot(TIMES, disks);

    expect({ exitCode, output }).toEqual({ exitCode: 0, output: "" });
    const facts = JSON.parse(results.get("facts") ?? "[]") as Facts[];
    const well = { opened: true, exitCode: 0, stderr: "", isSame: true, unfinished: [], left: [] };
    const [encrypted, decrypted, ...rotated] = facts;
    expect(encrypted).toEqual({ ...well, refused: true });
    expect(decrypted).toEqual({ ...well, refused: true });
    expect(rotated).toHaveLength(TIMES - 2);
    const generations = rotated.map(({ generation }) => generation ?? 1);
    for (const [index, { generation, ...seen }] of rotated.entries()) {
      expect(seen, `rotation ${index}`).toEqual({ ...well, refused: false });
      expect(generation ?? 1, `rotation ${index}`).toBeGreaterThan(generations[index - 1] ?? 1);
    }
  },
);
