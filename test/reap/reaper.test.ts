import { existsSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { ReapWorld } from "./reap-world.js";

const LONG_AGO = 1_000_000_000;

describe("the reaper", () => {
  it("takes what guests that do not run have left, and nothing of those that run", async () => {
    const world = new ReapWorld();
    const [stopped, running] = [world.guest("crashed", false), world.guest("busy", true)];
    const [secret, used] = [await world.secret(stopped), await world.secret(running)];
    const [mapping, open] = [await world.mapping(stopped), await world.mapping(running)];
    const guest = { id: stopped.id, name: "crashed" };
    expect(await world.reaper.reap("apply")).toEqual([
      { kind: "host-secret", name: secret, guest, disk: "vda", outcome: "cleaned" },
      { kind: "mapping", name: mapping, guest, disk: "vda", outcome: "cleaned" },
    ]);
    expect(await world.provided()).toEqual([used]);
    expect([...world.mappings.opened.keys()]).toEqual([open]);
    expect(await world.reaper.reap("apply")).toEqual([]);
  });

  it("cleans up after a guest that the host does not have any more", async () => {
    const world = new ReapWorld();
    const gone = { id: "5afe9aab-0794-45bc-8958-b5600a7a36a0", name: "gone", running: false };
    const mapping = await world.mapping(gone);
    const secret = await world.secret({ ...gone, id: "11111111-0794-45bc-8958-b5600a7a36a0" });
    expect(await world.reaper.reap("apply")).toMatchObject([
      { name: secret, guest: { id: "11111111-0794-45bc-8958-b5600a7a36a0" }, outcome: "cleaned" },
      { name: mapping, guest: { id: gone.id, name: "gone" }, outcome: "cleaned" },
    ]);
    expect([await world.provided(), world.mappings.claims()]).toEqual([[], []]);
  });

  it("does not ask for guests while none has anything", async () => {
    const world = new ReapWorld();
    world.guest("web1", false);
    expect(await world.reaper.reap("apply")).toEqual([]);
    expect(world.host.lists).toBe(0);
  });

  it("asks once, and makes no lock, while all who have something run", async () => {
    const world = new ReapWorld();
    await world.secret(world.guest("web1", true));
    expect(await world.reaper.reap("apply")).toEqual([]);
    expect(world.host.lists).toBe(1);
    expect(existsSync(join(world.directory, "lock"))).toBe(false);
  });

  it("changes nothing in a dry run", async () => {
    const world = new ReapWorld();
    const guest = world.guest("crashed", false);
    const [secret, mapping] = [await world.secret(guest), await world.mapping(guest)];
    const claim = world.damagedClaim("luksmith-x");
    utimesSync(claim, LONG_AGO, LONG_AGO);
    expect((await world.reaper.reap("dry-run")).map(({ name, outcome }) => [name, outcome])).toEqual([
      [secret, "found"],
      [mapping, "found"],
      ["luksmith-x", "found"],
    ]);
    expect([await world.provided(), [...world.mappings.opened.keys()]]).toEqual([[secret], [mapping]]);
    expect([existsSync(claim), existsSync(join(world.directory, "lock"))]).toEqual([true, false]);
  });

  it("leaves a mapping that somebody has open, says so, and cleans the rest", async () => {
    const world = new ReapWorld();
    const guest = world.guest("crashed", false);
    const [busy, free] = [await world.mapping(guest, "vda"), await world.mapping(guest, "vdb")];
    world.mappings.busy.add(busy);
    expect(await world.reaper.reap("apply")).toMatchObject([
      { name: busy, outcome: "left", why: "somebody has it open" },
      { name: free, outcome: "cleaned" },
    ]);
    expect(world.mappings.claims().map(({ name }) => name)).toEqual([busy]);
    world.mappings.busy.clear();
    expect(await world.reaper.reap("apply")).toMatchObject([{ name: busy, outcome: "cleaned" }]);
  });

  it("says why a mapping stays that is none of the claim's", async () => {
    const world = new ReapWorld();
    const name = await world.mapping(world.guest("crashed", false));
    vi.spyOn(world.mappings, "close").mockResolvedValue({ kind: "busy", why: "it is another one" });
    expect(await world.reaper.reap("apply")).toMatchObject([
      { name, outcome: "left", why: "it is another one" },
    ]);
  });

  it("goes on with the next one when one fails", async () => {
    const world = new ReapWorld();
    const [one, two] = [world.guest("one", false), world.guest("two", false)];
    const [refused, mapping] = [await world.secret(one), await world.mapping(two)];
    vi.spyOn(world.host, "withdrawSecrets").mockRejectedValue(
      new LuksmithError("HOST_SECRET_FAILED", { what: "cannot withdraw", why: "no" }),
    );
    expect(await world.reaper.reap("apply")).toMatchObject([
      { name: refused, outcome: "left", why: "cannot withdraw (no)" },
      { name: mapping, outcome: "cleaned" },
    ]);
  });

  it("does nothing while the host cannot tell who runs", async () => {
    const world = new ReapWorld();
    const mapping = await world.mapping(world.guest("web1", false));
    world.host.onList = () => Promise.reject(new LuksmithError("HOST_UNAVAILABLE", { what: "gone" }));
    await expect(world.reaper.reap("apply")).rejects.toMatchObject({ code: "HOST_UNAVAILABLE" });
    expect([...world.mappings.opened.keys()]).toEqual([mapping]);
  });
});

describe("a guest that is being started while the reaper looks", () => {
  /** What libvirt and our hook do, in their order: it runs, it is announced, it is given what it needs. */
  async function start(
    world: ReapWorld,
    guest: ReturnType<ReapWorld["guest"]>,
    give: () => Promise<unknown>,
  ) {
    world.setRunning(guest, true);
    await world.locks.announceStart(guest);
    await give();
  }

  it.each([1, 2])("keeps its secret and mapping when it began after list %i was made", async (n) => {
    const world = new ReapWorld();
    const guest = world.guest("web1", false);
    const [uuid, mapping] = [await world.secret(guest), await world.mapping(guest)];
    world.host.onList = async (list) => {
      if (list === n) await start(world, guest, () => world.secret(guest, "vda", uuid));
    };
    expect(await world.reaper.reap("apply")).toEqual([]);
    expect(await world.provided()).toEqual([uuid]);
    expect([...world.mappings.opened.keys()]).toEqual([mapping]);
  });

  it("keeps what it is given while another guest is cleaned", async () => {
    const world = new ReapWorld();
    const [first, second] = [world.guest("first", false), world.guest("second", false)];
    const [gone, uuid] = [await world.secret(first), await world.secret(second)];
    const withdraw = world.host.withdrawSecrets.bind(world.host);
    vi.spyOn(world.host, "withdrawSecrets").mockImplementation(async (guest, uuids) => {
      await start(world, second, () => world.secret(second, "vda", uuid));
      await withdraw(guest, uuids);
    });
    expect(await world.reaper.reap("apply")).toMatchObject([{ name: gone, outcome: "cleaned" }]);
    expect(await world.provided()).toEqual([uuid]);
  });

  it("waits until the reaper has ended with it, and only then gets what it needs", async () => {
    const world = new ReapWorld();
    const guest = world.guest("web1", false);
    const uuid = await world.secret(guest);
    const order: string[] = [];
    let starting: Promise<void> | undefined;
    const withdraw = world.host.withdrawSecrets.bind(world.host);
    vi.spyOn(world.host, "withdrawSecrets").mockImplementation(async (of, uuids) => {
      starting = start(world, guest, async () => {
        order.push("given");
        await world.secret(guest, "vda", uuid);
      });
      await sleep(300);
      await withdraw(of, uuids);
      order.push("withdrawn");
    });
    await world.reaper.reap("apply");
    await starting;
    expect(order).toEqual(["withdrawn", "given"]);
    expect(await world.provided()).toEqual([uuid]);
  });

  it("starts no program for a guest that the reaper never watched", async () => {
    const world = new ReapWorld();
    await world.locks.announceStart(world.guest("web1", false));
    expect(existsSync(join(world.directory, "lock"))).toBe(false);
  });

  it("is cleaned when it has crashed again", async () => {
    const world = new ReapWorld();
    const guest = world.guest("web1", false);
    const uuid = await world.secret(guest);
    world.host.onList = async (list) => {
      if (list === 2) await start(world, guest, () => world.secret(guest, "vda", uuid));
    };
    await world.reaper.reap("apply");
    world.setRunning(guest, false);
    expect(await world.reaper.reap("apply")).toMatchObject([{ name: uuid, outcome: "cleaned" }]);
  });
});

it("leaves a guest alone that another process works on, and says so", async () => {
  const world = new ReapWorld();
  const guest = world.guest("web1", false);
  const mapping = await world.mapping(guest);
  await world.locks.hold(guest, async () => {
    expect(await world.reaper.reap("apply")).toMatchObject([
      { name: mapping, outcome: "left", why: expect.stringContaining("another luksmith process") as string },
    ]);
  });
  expect([...world.mappings.opened.keys()]).toEqual([mapping]);
});

describe("a claim that nobody can read", () => {
  it("is a file: what else lies there is nobody's", async () => {
    const world = new ReapWorld();
    mkdirSync(join(world.claims, "luksmith-vda"), { recursive: true });
    utimesSync(join(world.claims, "luksmith-vda"), LONG_AGO, LONG_AGO);
    expect(await world.reaper.reap("apply")).toEqual([]);
  });

  it("is removed if no mapping of that name is open", async () => {
    const world = new ReapWorld();
    const path = world.damagedClaim("luksmith-vda");
    utimesSync(path, LONG_AGO, LONG_AGO);
    expect(await world.reaper.reap("apply")).toEqual([
      { kind: "claim", name: "luksmith-vda", outcome: "cleaned" },
    ]);
    expect(existsSync(path)).toBe(false);
  });

  it("stays with its mapping, which is left alone", async () => {
    const world = new ReapWorld();
    const path = world.damagedClaim("luksmith-vda");
    utimesSync(path, LONG_AGO, LONG_AGO);
    world.kernel.add("luksmith-vda");
    expect(await world.reaper.reap("apply")).toMatchObject([{ kind: "claim", outcome: "left" }]);
    expect(existsSync(path)).toBe(true);
  });

  it("is nobody's business while it may be being written", async () => {
    const world = new ReapWorld();
    const path = world.damagedClaim("luksmith-vda");
    expect(await world.reaper.reap("apply")).toEqual([]);
    expect(existsSync(path)).toBe(true);
  });

  it("stays if a fresh claim took its place while the reaper waited for its turn", async () => {
    const world = new ReapWorld();
    const path = world.damagedClaim("luksmith-vda");
    utimesSync(path, LONG_AGO, LONG_AGO);
    vi.spyOn(world.mappings, "hold").mockImplementation(async (_, work) => {
      writeFileSync(path, "{}");
      return await work();
    });
    expect(await world.reaper.reap("apply")).toEqual([]);
    expect(existsSync(path)).toBe(true);
  });

  it("stays while somebody works on the mapping, and is named", async () => {
    const world = new ReapWorld();
    const path = world.damagedClaim("luksmith-vda");
    utimesSync(path, LONG_AGO, LONG_AGO);
    vi.spyOn(world.mappings, "hold").mockRejectedValue(new LuksmithError("LOCK_TIMEOUT", { what: "busy" }));
    expect(await world.reaper.reap("apply")).toMatchObject([{ kind: "claim", outcome: "left", why: "busy" }]);
    expect(existsSync(path)).toBe(true);
  });

  it("is told from a claim in use", async () => {
    const world = new ReapWorld();
    const name = await world.mapping(world.guest("web1", true));
    utimesSync(world.damagedClaim(name), LONG_AGO, LONG_AGO);
    expect(await world.reaper.reap("apply")).toEqual([]);
  });
});

it("removes what a killed writer of a claim has left", async () => {
  const world = new ReapWorld();
  const claim = world.damagedClaim("luksmith-vda");
  const unfinished = join(world.claims, `.luksmith-vdb.999999999.${"0".repeat(16)}.tmp`);
  writeFileSync(unfinished, "");
  await world.reaper.reap("dry-run");
  expect(existsSync(unfinished)).toBe(true);
  await world.reaper.reap("apply");
  expect([existsSync(unfinished), existsSync(claim)]).toEqual([false, true]);
});

describe("a guest that has migrated here", () => {
  const note = (world: ReapWorld, name: string) => {
    const guest = world.guest(name, true);
    return world.arrivals.note({ guest, copies: [] });
  };

  it("is left alone while it comes, and settled when it runs", async () => {
    const world = new ReapWorld();
    const { guest } = note(world, "web1");
    world.host.migration.where = "arriving";
    expect(await world.reaper.reap("apply")).toEqual([]);
    expect(world.arrivals.list()).toHaveLength(1);
    world.host.migration.where = "running";
    expect(await world.reaper.reap("dry-run")).toEqual([
      { kind: "arrival", name: guest.id, guest, outcome: "found" },
    ]);
    expect(world.arrivals.list()).toHaveLength(1);
    expect(await world.reaper.reap("apply")).toEqual([
      { kind: "arrival", name: guest.id, guest, outcome: "cleaned" },
    ]);
    expect(world.arrivals.list()).toEqual([]);
  });

  it("is left, with the reason, while somebody works on it", async () => {
    const world = new ReapWorld();
    const { guest } = note(world, "web1");
    await world.locks.hold(guest, async () => {
      expect(await world.reaper.reap("apply")).toMatchObject([{ kind: "arrival", outcome: "left" }]);
    });
    expect(world.arrivals.list()).toHaveLength(1);
  });

  it("is told of where the note about it is damaged, which is left to the administrator", async () => {
    const world = new ReapWorld();
    const path = world.damagedNote("f3a4a9d4-2c0a-4b60-9df4-6a8f0c1b2d3e");
    for (const manner of ["dry-run", "apply"] as const) {
      expect(await world.reaper.reap(manner)).toEqual([
        {
          ...{ kind: "arrival", name: "f3a4a9d4-2c0a-4b60-9df4-6a8f0c1b2d3e", outcome: "left" },
          why: expect.stringContaining(`remove ${path}`) as string,
        },
      ]);
    }
    expect(existsSync(path)).toBe(true);
  });
});
