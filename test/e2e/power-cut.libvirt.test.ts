import { expect, it } from "vitest";
import { CUTS, type Facts } from "./support/power-cut-machine.js";
import { throughPowerCuts } from "./support/power-cuts.js";

const TIMEOUT = 600_000;

it(
  "a host whose power goes in the middle of protect loses no key, and protect finishes",
  { timeout: TIMEOUT },
  async () => {
    const program = "test/e2e/support/power-cut-machine.ts";
    const facts = await throughPowerCuts<Facts>({ program, cuts: CUTS, timeout: TIMEOUT / 2 });
    for (const [index, { key, cutAt, left, ...seen }] of facts.entries()) {
      expect(Object.values(left).flat(), cutAt).toEqual([]);
      expect(seen, cutAt).toEqual({
        unsyncedIsThere: false,
        exitCode: 0,
        stderr: "",
        header: key,
        // of the guest that nobody disturbed, and one of each that was
        states: Array.from({ length: index + 2 }, () => "active"),
        wrote: "read 65536/65536",
        otherIsUnchanged: true,
      });
    }
  },
);
