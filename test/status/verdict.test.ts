import { describe, expect, it } from "vitest";
import { isUnreadable, keyAge, summaryOf, verdictOf } from "../../src/status/verdict.js";
import { disk, guest, PROTECTED } from "./guests.js";

describe("the verdict on a disk", () => {
  it.each([
    ["encrypted", [], "protected"],
    ["encrypted", ["rule a"], "protected"],
    ["plain", [], "plain"],
    ["plain", ["rule a"], "unprotected"],
    ["pending", ["rule a"], "pending"],
    ["foreign", [], "foreign"],
    ["unknown", [], "unproven"],
    ["unknown", ["rule a"], "unproven"],
    ["shredded", ["rule a"], "shredded"],
  ] as const)("%s, asked for by %j: %s", (protection, askedBy, verdict) => {
    expect(verdictOf({ protection, askedBy: [...askedBy] })).toBe(verdict);
  });
});

it("a summary counts guests, and disks by verdict", () => {
  const problem = { code: "GUEST_NOT_FOUND", what: "there is no such guest" };
  const guests = [
    guest({ disks: [PROTECTED, disk({ askedBy: ["flavor"] }), disk()] }),
    guest({ problem }),
    guest(),
    guest({ problem, disks: [disk({ protection: "unknown" })] }),
  ];
  expect(summaryOf(guests)).toEqual({
    guests: 4,
    unreadable: 1,
    disks: { protected: 1, unprotected: 1, plain: 1, pending: 0, foreign: 0, unproven: 1, shredded: 0 },
  });
  expect(guests.map(isUnreadable)).toEqual([false, true, false, false]);
});

describe("the age of a key", () => {
  const now = new Date("2026-03-02T12:00:00Z");

  it("counts from the last rotation, or from when it was made", () => {
    expect(keyAge(PROTECTED, now)).toBe(86_400);
    expect(keyAge(disk({ keyCreatedAt: "2026-03-02T11:59:00Z" }), now)).toBe(60);
  });

  it("is not known without a record, and never negative", () => {
    expect(keyAge(disk(), now)).toBe(undefined);
    expect(keyAge(disk({ keyCreatedAt: "2026-03-03T00:00:00Z" }), now)).toBe(0);
  });
});
