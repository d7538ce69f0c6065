import { join } from "node:path";
import { expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { allGuests, rotateGuests } from "../../src/rotate/rotate-guests.js";
import { temporaryDirectory } from "../fs/tree.js";
import { guestWith, HostWithGuests } from "./host-with-guests.js";

it("passes over a guest on which another command works, unless it is named", async () => {
  const host = new HostWithGuests();
  host.guests = [guestWith("converted"), guestWith("web1")];
  const locks = new GuestLocks(new ExecaCommandRunner(), join(temporaryDirectory(), "lock"), 1);
  const worked: string[] = [];
  const rotate = async (scope: "all" | undefined) => {
    const wish = { manner: "apply", ...(scope && { scope }) } as const;
    const { failures, passed } = await rotateGuests(await allGuests(host), wish, { host, locks }, (id) => {
      worked.push(id);
      return Promise.resolve([]);
    });
    return [failures, passed].map((guests) => guests.map(({ guest, error }) => [guest, error.code]));
  };
  await locks.hold({ id: "id-converted" }, async () => {
    expect(await rotate("all")).toEqual([[], [["converted", "LOCK_TIMEOUT"]]]);
    expect(await rotate(undefined)).toEqual([[["converted", "LOCK_TIMEOUT"]], []]);
  });
  expect(worked).toEqual(["id-web1", "id-web1"]);
});
