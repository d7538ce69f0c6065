import { existsSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { isTimeToLook, noteLook } from "../../src/reap/stamp.js";
import { temporaryDirectory } from "../fs/tree.js";

const HOUR = 3_600_000;

let stamp: string;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
  stamp = join(temporaryDirectory(), "run/looked");
  noteLook(stamp);
});
afterEach(() => void vi.useRealTimers());

function lookedAt(milliseconds: number): void {
  utimesSync(stamp, 0, (Date.now() + milliseconds) / 1000);
}

it("it is time to look where nobody has yet", () => {
  expect(isTimeToLook(join(temporaryDirectory(), "nowhere/looked"))).toBe(true);
});

it.each([
  ["an hour ago", -HOUR, true],
  ["not quite an hour ago", 2 - HOUR, false],
  ["now, of which the file system knows parts of a millisecond", 0.9, false],
  ["in the future, since the clock was put back", 2, true],
])("the last look was %s", (_when, milliseconds, isTime) => {
  lookedAt(milliseconds);
  expect(isTimeToLook(stamp)).toBe(isTime);
});

it("a look that cannot be noted is no failure", () => {
  noteLook("/proc/looked");
  expect(existsSync("/proc/looked")).toBe(false);
});
