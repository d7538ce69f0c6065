import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { Bundle } from "../../lab/bundle.js";
import { runInUml } from "../../lab/uml.js";
import { MIB } from "./volumes.js";

export interface PowerCuts {
  /** A module that calls `runBoots`. */
  readonly program: string;
  /** The number of times that the power goes: one boot more is made. */
  readonly cuts: number;
  /** Milliseconds that one boot may take. */
  readonly timeout: number;
}

/**
 * Boots User-Mode Linux again and again on the same two disks. Every boot but the last dies of its kernel; the last one
 * ends well and says nothing.
 * @returns what each boot but the first has seen
 */
export async function throughPowerCuts<Facts>({ program, cuts, timeout }: PowerCuts): Promise<Facts[]> {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-disks-"));
  using bundle = await Bundle.of(program);
  try {
    const disks = ["state", "volumes"].map((name) => newDisk(join(directory, name)));
    const boot = (number: number) =>
      runInUml([process.execPath, bundle.file, String(number)], { disks, timeout });
    for (let number = 0; number < cuts; number++)
      await expect(boot(number)).rejects.toThrow(/its kernel died[^]*sysrq triggered crash/);
    const { exitCode, output, results } = await boot(cuts);
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: "" });
    const facts = JSON.parse(results.get("facts") ?? "[]") as Facts[];
    expect(facts).toHaveLength(cuts);
    return facts;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function newDisk(path: string): string {
  writeFileSync(path, "");
  truncateSync(path, 256 * MIB);
  return path;
}
