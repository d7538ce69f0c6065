import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Group } from "./groups.js";
import { type Output, runProgram, runStage } from "./stage.js";
import type { Tally } from "./tally.js";
import { RESULTS, runInUml } from "./uml.js";

/** What we read of vitest's JSON report. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** Runs a group's tests as one stage that counts each test. */
export function runTests({ name, machine }: Group, filters: readonly string[] = []): Promise<Tally> {
  const run = machine === "uml" ? runInMachine : runHere;
  let report: string;
  return runStage({
    title: `tests: ${name}`,
    command: async () => {
      const ended = await run(name, filters);
      ({ report } = ended);
      return ended;
    },
    count: ({ exitCode }) => {
      if (report === "") throw new Error("vitest made no report");
      const tally = tallyOf(JSON.parse(report) as Report);
      // an error outside any test: nothing in the report says so
      return exitCode !== 0 && tally.failed === 0 ? { ...tally, failed: 1 } : tally;
    },
  });
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

/** An output with vitest's JSON report. */
type Run = (name: string, filters: readonly string[]) => Promise<Output & { readonly report: string }>;

const runHere: Run = async (name, filters) => {
  const directory = await mkdtemp(join(tmpdir(), "luksmith-check-"));
  const file = join(directory, "report.json");
  try {
    const ended = await runProgram(vitest(name, filters, file));
    return { ...ended, report: await readFile(file, "utf8").catch(() => "") };
  } finally {
    await rm(directory, { recursive: true });
  }
};

/** Much longer than the tests take on a slow machine. */
const UML_TIMEOUT = 3_600_000;

const runInMachine: Run = async (name, filters) => {
  // device-mapper and LVM look at every device: no test file may see those of another
  const command = [...vitest(name, filters, `${RESULTS}/report.json`), "--maxWorkers=1"];
  const { exitCode, output, results } = await runInUml(command, {
    timeout: UML_TIMEOUT,
    memory: "2G",
    env: { NO_COLOR: "1" },
  });
  return { exitCode, stdout: output, output, report: results.get("report.json") ?? "" };
};

function vitest(name: string, filters: readonly string[], report: string): [string, ...string[]] {
  return [
    process.execPath,
    "node_modules/vitest/vitest.mjs",
    "run",
    "--config=.config/vitest.config.mjs",
    `--project=${name}`,
    "--reporter=dot",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...filters,
  ];
}
