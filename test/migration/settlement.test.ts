import { beforeEach, describe, expect, it, vi } from "vitest";
import { annotateDomain } from "../../src/guest-config/annotations.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Annotations, ConfiguredGuest, Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { NotedArrival } from "../../src/migration/arrivals.js";
import { EventWorld, type WorldDisk } from "../event/event-world.js";
import { codeOf } from "../storage/workshop.js";

const MINUTE = 60_000;

let world: EventWorld;
let disks: WorldDisk[];
let guest: Guest;
/** The persistent configuration here, in XML; undefined for a guest that is not defined. */
let configuration: string | undefined;

beforeEach(async () => {
  world = new EventWorld();
  disks = world.disks("vda", "vdb");
  guest = world.guest(disks);
  configuration = guest.configuration;
  vi.spyOn(world.host, "readGuest").mockImplementation(() => {
    if (configuration === undefined)
      return Promise.reject(new LuksmithError("GUEST_NOT_FOUND", { what: "there is no such guest" }));
    const read = { ...guestFromDomainXml(configuration), running: true, saved: false };
    return Promise.resolve(read satisfies ConfiguredGuest);
  });
  vi.spyOn(world.host, "annotate").mockImplementation((...[now, blocks, replaced]: unknown[]) => {
    if ((now as Guest).configuration !== configuration)
      return Promise.reject(new LuksmithError("GUEST_CHANGED", { what: "somebody has changed it" }));
    configuration = annotateDomain(configuration, blocks as Annotations, replaced as Annotations);
    return Promise.resolve();
  });
  vi.spyOn(world.host, "readRunningGuest").mockImplementation(() => Promise.resolve(here()));
  await world.handle({ event: "pre-migrate", cause: "migrate", guest });
});

const here = () => world.host.migration.answers.at(-1)!;
const arrive = (comes: "memory-and-storage" | "nothing" = "memory-and-storage"): Promise<unknown> => {
  world.host.migration.comes = comes;
  return world.handle({ event: "pre-migrate", cause: "arrival", guest: here() } satisfies LifecycleEvent);
};

function noted(): NotedArrival {
  const note = world.arrivals.find(guest);
  if (note === undefined || note === "damaged") throw new Error("nothing is noted");
  return note;
}

describe("a guest that has arrived with its storage", () => {
  it("is waited for", async () => {
    await arrive();
    world.host.migration.where = "arriving";
    expect(await world.settlement.settle(noted())).toBe("arriving");
    expect(configuration).toBe(guest.configuration);
    expect(world.arrivals.list()).toHaveLength(1);
  });

  it.each(["running", "absent"] as const)(
    "is put right in its configuration when it is %s",
    async (where) => {
      await arrive();
      world.host.migration.where = where;
      expect(await world.settlement.settle(noted())).toBe("put-right");
      expect(configuration).toBe(here().configuration);
      expect(world.arrivals.list()).toEqual([]);
      const start: LifecycleEvent = {
        event: "pre-start",
        cause: "start",
        guest: guestFromDomainXml(configuration!),
      };
      expect(await world.handle(start)).toEqual(["provide-secrets"]);
    },
  );

  it("is put right by whoever comes next if this is killed before the note is forgotten", async () => {
    await arrive();
    const note = noted();
    const forget = vi.spyOn(world.arrivals, "forget").mockImplementation(() => {
      throw new LuksmithError("NOT_PERMITTED", { what: "killed" });
    });
    expect(await codeOf(world.settlement.settle(note))).toBe("NOT_PERMITTED");
    forget.mockRestore();
    expect(await world.settlement.settle(note)).toBe("forgotten");
    expect(configuration).toBe(here().configuration);
  });

  it("keeps what somebody has changed in its configuration, but for what it does not run with", async () => {
    await arrive();
    const [vda] = disks;
    const older = guest.configuration.replace(vda!.uuid, "11111111-2222-4333-8444-555555555555");
    configuration = older;
    world.host.migration.where = "absent";
    const note = noted();
    expect(await world.settlement.settle(note)).toBe("put-right");
    expect(configuration).toContain("11111111-2222-4333-8444-555555555555");
    expect(configuration).not.toContain(disks[1]!.uuid);
    // that of a guest that has moved on before it was settled, and runs
    configuration = older;
    world.arrivals.restore(note);
    world.host.migration.where = "running";
    expect(await world.settlement.settle(note)).toBe("put-right");
    expect(configuration).toBe(here().configuration);
  });

  it("keeps the configuration that it had here before, which a copy that was cut short has not replaced", async () => {
    world.host.migration.defined = true;
    await arrive();
    world.host.migration.where = "absent";
    expect(await world.settlement.settle(noted())).toBe("forgotten");
    expect(configuration).toBe(guest.configuration);
  });

  it("keeps a configuration with other volumes, which may have the keys that it names", async () => {
    await arrive();
    const others = world.disks("vdc", "vdd");
    configuration = guest.configuration
      .replace(disks[0]!.path, others[0]!.path)
      .replace(disks[1]!.path, others[1]!.path);
    const before = configuration;
    expect(await world.settlement.settle(noted())).toBe("forgotten");
    expect(configuration).toBe(before);
  });

  it("is forgotten where it is not defined here: it was transient, or the migration failed", async () => {
    await arrive();
    configuration = undefined;
    world.host.migration.where = "absent";
    expect(await world.settlement.settle(noted())).toBe("forgotten");
    expect(world.arrivals.list()).toEqual([]);
  });

  it("is not thought of for a note that a further attempt has replaced", async () => {
    await arrive();
    const old = noted();
    await world.handle({ event: "pre-migrate", cause: "migrate", guest });
    await arrive();
    expect(await world.settlement.settle(old)).toBe("forgotten");
    expect(configuration).toBe(guest.configuration);
    expect(world.arrivals.list()).toHaveLength(1);
  });

  it("is left alone while the host manager does not answer", async () => {
    await arrive();
    vi.spyOn(world.host.migration, "whereabouts").mockRejectedValue(
      new LuksmithError("HOST_UNAVAILABLE", { what: "libvirtd is away" }),
    );
    expect(await codeOf(world.settlement.settle(noted()))).toBe("HOST_UNAVAILABLE");
    expect(world.arrivals.list()).toHaveLength(1);
  });
});

it("a definition that came alone is not forgotten: its volumes have nothing of the guest's", async () => {
  configuration = here().configuration;
  world.host.migration.where = "absent";
  vi.useFakeTimers({ now: Date.now() + 60 * MINUTE, toFake: ["Date"] });
  try {
    expect(await world.settlement.settle(noted())).toBe("arriving");
    expect(world.arrivals.list()).toHaveLength(1);
    configuration = guest.configuration;
    expect(await world.settlement.settle(noted())).toBe("forgotten");
  } finally {
    vi.useRealTimers();
  }
});

describe("a guest whose hook is still at work, so that nobody can see it yet", () => {
  it("is waited for, and forgotten after a while with nothing changed", async () => {
    world.host.migration.where = "absent";
    expect(await world.settlement.settle(noted())).toBe("arriving");
    vi.useFakeTimers({ now: Date.now() + 6 * MINUTE, toFake: ["Date"] });
    try {
      expect(await world.settlement.settle(noted())).toBe("forgotten");
    } finally {
      vi.useRealTimers();
    }
    expect(configuration).toBe(guest.configuration);
    expect(world.arrivals.list()).toEqual([]);
  });

  it("is not changed where it ran here all the time: it cannot migrate to itself", async () => {
    world.host.migration.where = "running";
    expect(await world.settlement.settle(noted())).toBe("forgotten");
    expect(configuration).toBe(guest.configuration);
  });
});
