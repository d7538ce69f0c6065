import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Settlement } from "../../../src/migration/settlement.js";
import { Reaper } from "../../../src/reap/reaper.js";
import * as t from "../../../src/tokens.js";
import { FakeMappings } from "../../fake/fake-mappings.js";
import { goneStart, ProxmoxWorld, startOf } from "./proxmox-world.js";

function reaperOf({ container, host, root }: ProxmoxWorld): Reaper {
  const [locks, arrivals] = [container.resolve(t.GUEST_LOCKS), container.resolve(t.ARRIVALS)];
  const storage = container.resolve(t.STORAGE);
  return new Reaper({
    ...{ host, locks, arrivals, mappings: new FakeMappings() },
    settlement: new Settlement({ host, locks, arrivals, storage }),
    places: { directory: `${root}/claims`, isOpen: () => false },
  });
}

describe("reap on Proxmox VE", () => {
  it("takes the passphrases of guests that do not run and whose start is gone", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, {});
    world.vm(101, {});
    const left = world.write(`run/luksmith/vm/100/${goneStart()}/scsi0`, "left");
    const used = world.write(`run/luksmith/vm/101/${startOf()}/scsi0`, "used");
    const leftover = { kind: "host-secret", name: left, guest: { id: "100" }, disk: "scsi0" };
    expect(await reaperOf(world).reap("dry-run")).toMatchObject([{ ...leftover, outcome: "found" }]);
    expect(existsSync(left)).toBe(true);
    expect(await reaperOf(world).reap("apply")).toMatchObject([{ ...leftover, outcome: "cleaned" }]);
    expect([existsSync(left), existsSync(used)]).toEqual([false, true]);
  });

  it("takes what a start that was killed has left with a guest that runs", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, {});
    const left = world.write(`run/luksmith/vm/100/${goneStart()}/scsi0`, "left");
    const used = world.write(`run/luksmith/vm/100/${startOf()}/scsi0`, "used");
    expect(await reaperOf(world).reap("apply")).toEqual([]);
    const leftover = { kind: "host-secret", name: left, guest: { id: "100" }, disk: "scsi0" };
    expect(await world.host.reap("dry-run")).toEqual([{ ...leftover, outcome: "found" }]);
    expect(await world.host.reap("apply")).toEqual([{ ...leftover, outcome: "cleaned" }]);
    expect([existsSync(left), existsSync(used)]).toEqual([false, true]);
    expect(await world.host.reap("apply")).toEqual([]);
  });
});
