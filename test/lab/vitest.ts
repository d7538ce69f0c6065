import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Group } from "./groups.js";
import { runStage } from "./stage.js";
import type { Tally } from "./tally.js";

/** What we read of vitest's JSON report. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** Runs the tests of `group` as one stage that counts each test. */
export async function runTests(group: Group): Promise<Tally> {
  const directory = await mkdtemp(join(tmpdir(), "luksmith-check-"));
  const report = join(directory, "report.json");
  try {
    return await runStage({
      title: `tests: ${group.name}`,
      command: [
        process.execPath,
        "node_modules/vitest/vitest.mjs",
        "run",
        "--config=.config/vitest.config.mjs",
        `--project=${group.name}`,
        "--reporter=dot",
        "--reporter=json",
        `--outputFile.json=${report}`,
      ],
      count: async ({ exitCode }) => {
        const tally = tallyOf(JSON.parse(await readFile(report, "utf8")) as Report);
        // an error outside any test: nothing in the report says so
        return exitCode !== 0 && tally.failed === 0 ? { ...tally, failed: 1 } : tally;
      },
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Counts tests; a file that failed without a failed test (it does not load, a hook failed) is one failure. */
export function tallyOf({ testResults }: Report): Tally {
  const tally = { passed: 0, failed: 0, skipped: 0 };
  for (const file of testResults) {
    const { failed } = tally;
    for (const test of file.assertionResults) {
      if (test.status === "passed") tally.passed++;
      else if (test.status === "failed") tally.failed++;
      else tally.skipped++;
    }
    if (file.status === "failed" && tally.failed === failed) tally.failed++;
  }
  return tally;
}
