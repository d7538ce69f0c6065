import { closeSync, openSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findMapping } from "../../src/encryption/dm-crypt/kernel-mapping.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { Settlement } from "../../src/migration/settlement.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { Reaper } from "../../src/reap/reaper.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { mapper, MappingLab, mappingNames } from "../encryption/dm-crypt/mapping-lab.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";

/** None of its guests runs. */
let lab: MappingLab;
let reaper: Reaper;

beforeEach(() => {
  lab = new MappingLab();
  const [host, locks] = [new FakeHostAdapter(), new GuestLocks(lab.runner, lab.places.locks)];
  const arrivals = new Arrivals(join(lab.places.claims, "no-arrivals"));
  reaper = new Reaper({
    ...{ host, locks, arrivals },
    mappings: lab.mappings,
    settlement: new Settlement({ host, locks, arrivals, storage: new StorageRegistry([]) }),
    places: { directory: lab.places.claims, isOpen: (name) => findMapping(name) !== undefined },
  });
});
afterEach(() => lab[Symbol.dispose]());

it("closes what a guest left that does not run, and no mapping of somebody else", async () => {
  const requests = [lab.make("block", "luks"), lab.make("file", "luks")];
  for (const request of requests) await lab.open(request);
  lab.openForeign("luksmith-foreign", lab.makeDevice().path);
  const reaped = await reaper.reap("apply");
  expect(reaped.map(({ name, outcome }) => [name, outcome]).sort()).toEqual(
    requests.map(({ name }) => [name, "cleaned"]).sort(),
  );
  expect([mappingNames(), lab.claimFiles()]).toEqual([["luksmith-foreign"], []]);
});

it("leaves a mapping that somebody has open, and forgets its claim when it is gone", async () => {
  const request = lab.make("block", "luks");
  await lab.open(request);
  const user = openSync(mapper(request.name), "r");
  expect(await reaper.reap("apply")).toMatchObject([{ name: request.name, outcome: "left" }]);
  expect([mappingNames(), lab.claimFiles()]).toEqual([[request.name], [request.name]]);
  closeSync(user);
  expect(await reaper.reap("apply")).toMatchObject([{ name: request.name, outcome: "cleaned" }]);
  expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
});

it("does not close a mapping whose claim nobody can read, and does not lose sight of it", async () => {
  const request = lab.make("block", "luks");
  await lab.open(request);
  const claim = join(lab.places.claims, request.name);
  writeFileSync(claim, "{");
  utimesSync(claim, 1_000_000_000, 1_000_000_000);
  expect(await reaper.reap("apply")).toMatchObject([{ kind: "claim", name: request.name, outcome: "left" }]);
  expect([mappingNames(), lab.claimFiles()]).toEqual([[request.name], [request.name]]);
  lab.closeElsewhere(request.name);
  expect(await reaper.reap("apply")).toMatchObject([{ name: request.name, outcome: "cleaned" }]);
  expect(lab.claimFiles()).toEqual([]);
});
