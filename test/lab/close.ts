import { closingLine, exitCode, sum, type Tally } from "./tally.js";

/** Ends `check` and `lab`: the closing line on stdout, and the exit code. */
export function close(tallies: readonly Tally[]): void {
  const total = sum(tallies);
  // after a failure they follow from it: a hook that failed skips its tests
  if (total.skipped > 0 && total.failed === 0) {
    process.stderr.write(
      "error: some tests were skipped\ncause: as root on Debian every test can run\nhint: a test that cannot run must fail\n",
    );
  }
  process.stdout.write(`${closingLine(total)}\n`);
  process.exitCode = exitCode(total);
}
