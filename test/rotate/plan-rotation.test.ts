import { expect, it } from "vitest";
import { isOlderThan, parseDays } from "../../src/rotate/age.js";
import { planRotation, type RotationFacts, type RotationStep } from "../../src/rotate/plan-rotation.js";
import { sampleRecord } from "../keystore/sample-key.js";

const startedAt = "2026-08-01T12:00:00.000Z";
const recovery = [{ keyslot: 1, kind: "passphrase" as const, createdAt: startedAt }];

it.each<[string, Partial<RotationFacts>, RotationStep]>([
  ["nothing was begun", {}, { kind: "begin", current: 0 }],
  [
    "nothing was stored yet",
    { record: { rotation: { startedAt, keyslot: 1 } }, used: [0, 1] },
    { kind: "undo", remove: 1 },
  ],
  [
    "the new keyslot was not made yet: its key material may have been",
    { record: { rotation: { startedAt, keyslot: 1 } } },
    { kind: "undo", remove: 1 },
  ],
  [
    "a keyslot for recovery has come to where the new one was to be",
    { record: { rotation: { startedAt, keyslot: 1 }, recovery }, used: [0, 1] },
    { kind: "undo", remove: undefined },
  ],
  [
    "the keystore has the new one",
    {
      record: { rotation: { startedAt, keyslot: 1, former: 0 } },
      ...{ used: [0, 1], current: 1, former: [0], knowsFormer: true },
    },
    { kind: "finish", current: 1, remove: 0 },
  ],
  [
    "the former keyslot is another passphrase's by now",
    {
      record: { rotation: { startedAt, keyslot: 1, former: 0 } },
      ...{ used: [0, 1], current: 1, former: [], knowsFormer: true },
    },
    { kind: "finish", current: 1, remove: undefined },
  ],
  [
    "the former passphrase is not kept any more",
    { record: { rotation: { startedAt, keyslot: 1, former: 0 } }, used: [0, 1], current: 1 },
    { kind: "finish", current: 1, remove: 0 },
  ],
  [
    "the former keyslot is what opens now: the header was brought back",
    { record: { rotation: { startedAt, keyslot: 1, former: 0 } }, used: [0, 1], current: 0 },
    { kind: "finish", current: 0, remove: undefined },
  ],
  [
    "the volume is an old copy",
    { current: undefined, former: [3], knowsFormer: true },
    { kind: "adopt", former: 3 },
  ],
  ["nothing that is known opens it", { current: undefined }, { kind: "rejected" }],
])("when %s", (_, change, step) => {
  const facts = { record: {}, used: [0], current: 0, former: [], knowsFormer: false };
  expect(planRotation({ ...facts, ...change })).toEqual(step);
});

it("reads ages in days and weeks", () => {
  expect(["90d", "90", "12w", "0d", "1y", "", "-1d", "99999d"].map(parseDays)).toEqual([
    ...[90, 90, 84, 0],
    ...[undefined, undefined, undefined, undefined],
  ]);
});

it("counts a passphrase's age from its rotation, else from when its key was made", () => {
  const now = new Date("2026-09-01T00:00:00Z");
  const created = sampleRecord({ createdAt: "2026-01-01T00:00:00.000Z" });
  const rotated = { ...created, rotatedAt: "2026-08-30T00:00:00.000Z" };
  expect([isOlderThan(created, 90, now), isOlderThan(rotated, 90, now)]).toEqual([true, false]);
  expect([isOlderThan(rotated, 2, now), isOlderThan(rotated, 3, now)]).toEqual([true, false]);
  expect(isOlderThan({ ...created, createdAt: "long ago" }, 90, now)).toBe(true);
});
