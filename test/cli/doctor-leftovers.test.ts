import { describe, expect, it } from "vitest";
import { checkArrivals, checkLeftovers, checkReaper } from "../../src/cli/doctor-leftovers.js";
import { Container } from "../../src/di.js";
import type { ReaperRegistration } from "../../src/host/host-adapter.js";
import { ARRIVALS, GUEST_LOCKS, HOST, MAPPINGS, STORAGE } from "../../src/tokens.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";
import { ReapWorld } from "../reap/reap-world.js";

const containerOf = ({ host, mappings, locks, arrivals }: ReapWorld) =>
  new Container()
    .value(HOST, host)
    .value(MAPPINGS, mappings)
    .value(GUEST_LOCKS, locks)
    .value(ARRIVALS, arrivals)
    .value(STORAGE, new StorageRegistry([]));

describe("doctor", () => {
  it("warns of what is left of guests that do not run, and names what cleans it", async () => {
    const world = new ReapWorld();
    const [stopped, running] = [world.guest("crashed", false), world.guest("web1", true)];
    const [secret, mapping] = [await world.secret(stopped), await world.mapping(stopped)];
    await world.secret(running);
    expect(await checkLeftovers(containerOf(world))).toEqual([
      {
        ...{ name: "host secrets", result: "warning", hint: "luksmith reap" },
        detail: `1 belong to no running guest: ${secret}`,
      },
      {
        ...{ name: "mappings", result: "warning", hint: "luksmith reap" },
        detail: `1 belong to no running guest: ${mapping}`,
      },
    ]);
  });

  it("is content with what is in use, and says nothing of mappings where there are none", async () => {
    const world = new ReapWorld();
    const running = world.guest("web1", true);
    await world.secret(running);
    const content = { result: "ok", detail: "1 in use, none orphaned" };
    expect(await checkLeftovers(containerOf(world))).toEqual([{ name: "host secrets", ...content }]);
    await world.mapping(running);
    expect(await checkLeftovers(containerOf(world))).toMatchObject([{}, { name: "mappings", ...content }]);
  });

  it("does not take what a command has open for a guest that is shut off for a leftover", async () => {
    const world = new ReapWorld();
    const guest = world.guest("converted", false);
    const mapping = await world.mapping(guest);
    await world.locks.hold(guest, async () => {
      expect(await checkLeftovers(containerOf(world))).toMatchObject([
        {},
        { name: "mappings", result: "ok", detail: "1 in use, none orphaned" },
      ]);
    });
    expect(await checkLeftovers(containerOf(world))).toMatchObject([
      {},
      { name: "mappings", result: "warning", detail: expect.stringContaining(mapping) as string },
    ]);
  });

  it("warns of a guest that has arrived and was not settled, and of a note that is damaged", async () => {
    const world = new ReapWorld();
    const check = () => checkArrivals(containerOf(world));
    expect(await check()).toEqual([]);
    world.arrivals.note({ guest: world.guest("web1", true), copies: [] });
    world.host.migration.where = "arriving";
    const name = "migrated guests";
    expect(await check()).toEqual([{ name, result: "ok", detail: "1 on the way, none left behind" }]);
    world.host.migration.where = "running";
    const path = world.damagedNote("web2");
    expect(await check()).toMatchObject([
      { name, result: "warning", detail: expect.stringContaining("web1") as string, hint: "luksmith reap" },
      { name, result: "warning", detail: expect.stringContaining(path) as string },
    ]);
  });

  it.each<[ReaperRegistration["kind"], string[]]>([
    ["registered", ["ok"]],
    ["outdated", ["warning"]],
    ["absent", ["warning"]],
    ["foreign", ["warning"]],
    ["none", []],
  ])("takes a reaper that is %s for %j", (kind, results) => {
    const path = "/etc/systemd/system/luksmith-reap.timer";
    const host = Object.assign(new FakeHostAdapter(), {
      reaperRegistration: () => (kind === "none" ? { kind, path, cron: "" } : { kind, path }),
    });
    const checks = checkReaper(new Container().value(HOST, host));
    expect(checks.map(({ result }) => result)).toEqual(results);
  });
});
