import { describe, expect, test } from "vitest";
import { closingLine, exitCode, FAILED, PASSED, sum } from "../lab/tally.js";
import { tallyOf } from "../lab/vitest.js";

const file = (status: string, ...tests: string[]) => ({
  name: "/test/a.lvm.test.ts",
  status,
  assertionResults: tests.map((status) => ({ status, fullName: status })),
});

describe("the closing line", () => {
  test("counts what passed, failed and was skipped", () => {
    const total = sum([PASSED, FAILED, { passed: 40, failed: 2, skipped: 3 }]);

    expect(closingLine(total)).toBe("41 passed, 3 failed, 3 skipped");
  });

  test.each([
    [{ passed: 1, failed: 0, skipped: 0 }, 0],
    [{ passed: 1, failed: 1, skipped: 0 }, 1],
    [{ passed: 1, failed: 0, skipped: 1 }, 1],
    [{ passed: 0, failed: 0, skipped: 0 }, 1],
  ])("of %j ends with exit code %i", (tally, code) => {
    expect(exitCode(tally)).toBe(code);
  });
});

describe("vitest's report", () => {
  test("counts each test", () => {
    const testResults = [
      file("failed", "passed", "passed", "failed"),
      file("passed", "passed", "skipped", "todo", "pending"),
    ];

    expect(tallyOf({ testResults })).toEqual({ passed: 3, failed: 1, skipped: 3 });
  });

  test("counts a file that does not load as one failure", () => {
    expect(tallyOf({ testResults: [file("failed")] })).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });

  test("counts a failed hook after tests that passed", () => {
    expect(tallyOf({ testResults: [file("failed", "passed")] })).toEqual({
      passed: 1,
      failed: 1,
      skipped: 0,
    });
  });
});
