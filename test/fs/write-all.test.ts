import { execa } from "execa";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const MODULE = fileURLToPath(new URL("../../src/fs/write-all.ts", import.meta.url));
const BYTES = 3_000_000;

/** Writes into a pipe whose reader starts late, and exits at once, as a hook does. */
async function writeToSlowReader(prepare: string) {
  const program = `import { writeAll } from ${JSON.stringify(MODULE)};
    ${prepare}
    writeAll(1, "é".repeat(${BYTES / 2}));
    process.exit(0);`;
  const node = `node --import tsx --input-type module --eval "$1"`;
  return await execa("bash", ["-c", `set -o pipefail; ${node} | { sleep 0.5; wc -c; }`, "bash", program], {
    reject: false,
  });
}

describe("writeAll", () => {
  it("has written all before it returns, however slow the reader is", async () => {
    expect(await writeToSlowReader("")).toMatchObject({ exitCode: 0, stdout: String(BYTES) });
  });

  it("waits for a pipe that does not wait itself", async () => {
    // Node makes a pipe so when its stream is used
    const result = await writeToSlowReader("process.stdout._handle.setBlocking(false);");
    expect(result).toMatchObject({ exitCode: 0, stdout: String(BYTES) });
  });

  it("fails when the reader goes away", async () => {
    const program = `import { writeAll } from ${JSON.stringify(MODULE)}; writeAll(1, "x".repeat(${BYTES}));`;
    const node = `node --import tsx --input-type module --eval "$1" 2>/dev/null`;
    const { exitCode } = await execa(
      "bash",
      ["-c", `set -o pipefail; ${node} | head -c 1`, "bash", program],
      {
        reject: false,
      },
    );
    expect(exitCode).not.toBe(0);
  });
});
