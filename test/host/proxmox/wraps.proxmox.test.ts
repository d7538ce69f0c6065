import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const directory = join(import.meta.dirname, "wraps");
/** With the engine itself, which knows one place for everything. */
const ON_A_NODE = "real-engine.t";
const LIMIT = 300_000;

interface Failure {
  readonly stdout: string;
  readonly stderr: string;
}

/** What a test writes, also one that fails. */
async function prove(file: string): Promise<string> {
  const node = file === ON_A_NODE ? ["sh", join(import.meta.dirname, "perl/namespace.sh")] : [];
  const command = [...node, "prove", "-T", "-v", "--merge", join(directory, file)];
  try {
    return (await promisify(execFile)("env", command)).stdout;
  } catch (thrown) {
    const { stdout, stderr } = thrown as Failure;
    return stdout + stderr;
  }
}

describe("wraps of Proxmox VE's Perl code", () => {
  it.each(readdirSync(directory).filter((file) => file.endsWith(".t")))(
    "pass %s",
    async (file) => {
      expect(await prove(file)).toMatch(/^Result: PASS$/m);
    },
    LIMIT,
  );
});
