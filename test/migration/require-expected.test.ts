import { describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/error/catalogue.js";
import type { Incoming, Opened } from "../../src/host/guest-migration.js";
import type { NotedArrival } from "../../src/migration/arrivals.js";
import { requireExpected } from "../../src/migration/require-expected.js";
import { disk, guestWith, uuid } from "../plan/builders.js";

const GUEST = { ...guestWith(disk("vda", 1), disk("vdb", 2)), arrives: true } as const;

/** The note of a guest to whose disks `copied` something must come. */
function noted(...copied: string[]): NotedArrival {
  const copies = copied.map((dev) => ({
    disk: dev,
    from: { disk: dev, uuid: uuid(7) },
    to: { disk: dev, uuid: uuid(8) },
  }));
  return { guest: GUEST, copies, stage: "announced", since: new Date(0), defined: false, nonce: "n" };
}

const expectation =
  (note: NotedArrival, brings: Incoming["brings"], opened: Record<string, Opened>) => () => {
    requireExpected(GUEST, note, { brings, opened: new Map(Object.entries(opened)) });
  };
const refusing = (code: ErrorCode): unknown => expect.objectContaining({ code });
const [reads, writes] = ["read-only", "for-writing"] as const;

describe("a guest that arrives", () => {
  it.each([
    ["memory only", noted("vda"), "memory", {}],
    ["storage for another disk only", noted("vda", "vdb"), "memory-and-storage", { vda: writes, vdb: reads }],
    ["memory only, though the volume is open", noted("vda"), "memory", { vda: writes }],
    ["nothing but its definition", noted("vda"), "nothing", { vda: writes }],
  ] as const)("is refused if %s comes, and a new volume would stay empty", (_, note, brings, opened) => {
    expect(expectation(note, brings, opened)).toThrow(refusing("STORAGE_NOT_COPIED"));
  });

  it.each([
    ["of all disks", noted(), { vda: writes, vdb: writes }],
    ["of one that has its volume here", noted("vda"), { vda: writes, vdb: writes }],
    ["of some disk that cannot be told, with no disk that it could be for", noted(), {}],
  ] as const)("is refused if the content %s would be copied under its own key", (_, note, opened) => {
    expect(expectation(note, "memory-and-storage", opened)).toThrow(refusing("COPY_SHARES_KEY"));
  });

  it.each([
    ["all that it needs", noted("vda", "vdb"), "memory-and-storage", { vda: writes, vdb: writes }],
    ["what it needs, for storage that cannot be seen", noted("vda"), "memory-and-storage", {}],
    [
      "what one disk needs, and the other has",
      noted("vda"),
      "memory-and-storage",
      { vda: writes, vdb: reads },
    ],
    ["its memory, and has the rest", noted(), "memory", { vda: reads, vdb: reads }],
    ["nothing: it starts here", noted(), "nothing", {}],
  ] as const)("goes on with %s", (_, note, brings, opened) => {
    expect(expectation(note, brings, opened)).not.toThrow();
  });
});
