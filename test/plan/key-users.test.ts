import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest, GuestSummary, HostAdapter } from "../../src/host/host-adapter.js";
import { findKeyUser } from "../../src/plan/key-users.js";
import { disk, guestWith, uuid } from "./builders.js";

/** How a fake host answers about one guest: a configuration, or an error. */
interface FakeGuest {
  readonly persistent?: Guest | LuksmithError;
  readonly running?: Guest | LuksmithError;
}

const notFound = new LuksmithError("GUEST_NOT_FOUND", { what: "there is no such guest" });

/** A host with one guest, which `vanishes` after the list was made. */
function fakeHost({ persistent = notFound, running }: FakeGuest, vanishes = false) {
  const summary: GuestSummary = { id: guestWith().id, name: "web1", running: running !== undefined };
  let lists = 0;
  const answer = (guest: Guest | LuksmithError) =>
    guest instanceof LuksmithError ? Promise.reject(guest) : Promise.resolve(guest);
  return {
    listGuests: () => Promise.resolve(lists++ > 0 && vanishes ? [] : [summary]),
    readGuest: async () => ({ ...(await answer(persistent)), running: summary.running, saved: false }),
    readRunningGuest: () => answer(running ?? notFound),
  } satisfies Pick<HostAdapter, "listGuests" | "readGuest" | "readRunningGuest">;
}

const other = guestWith(disk("vda", 8), disk("vdb"));
const user = guestWith(disk("vda", 8), disk("vdb", 7));
const overlay = guestWith(disk("vda"), disk("vdc", 8, { backingSecretUuids: [uuid(9), uuid(7)] }));

describe("the user of a key", () => {
  it.each<[what: string, guest: FakeGuest, expected: object | undefined]>([
    [
      "a guest that is configured with it",
      { persistent: user },
      { disk: "vdb", configuration: "persistent" },
    ],
    ["one that has it under a volume", { persistent: overlay }, { disk: "vdc", configuration: "persistent" }],
    [
      "one that runs with it",
      { persistent: other, running: user },
      { disk: "vdb", configuration: "running" },
    ],
    ["one that is transient", { running: user }, { disk: "vdb", configuration: "running" }],
    ["none, where all name other keys", { persistent: other, running: other }, undefined],
  ])("is %s", async (_, guest, expected) => {
    const found = await findKeyUser(fakeHost(guest), uuid(7));
    expect(found).toEqual(expected && { guest: "web1", ...expected });
  });

  it.each<[what: string, guest: FakeGuest]>([
    ["persistent", { persistent: new LuksmithError("GUEST_CONFIG_INVALID", { what: "it is no XML" }) }],
    ["running", { persistent: other, running: new LuksmithError("HOST_UNAVAILABLE", { what: "no answer" }) }],
    ["other", { persistent: other, running: notFound }],
    ["whole", {}],
  ])("cannot be told while a guest's %s configuration cannot be read", async (_, guest) => {
    await expect(findKeyUser(fakeHost(guest), uuid(7))).rejects.toBeInstanceOf(LuksmithError);
  });

  it("is no guest that has stopped or vanished meanwhile", async () => {
    expect(
      await findKeyUser(fakeHost({ persistent: other, running: notFound }, true), uuid(7)),
    ).toBeUndefined();
    expect(await findKeyUser(fakeHost({}, true), uuid(7))).toBeUndefined();
  });
});
