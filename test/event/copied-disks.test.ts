import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { codeOf, sha256 } from "../storage/workshop.js";
import { EventWorld, type WorldDisk } from "./event-world.js";

const migrate = (guest: Guest): LifecycleEvent => ({ event: "pre-migrate", cause: "migrate", guest });
const arrive = (guest: Guest): LifecycleEvent => ({ event: "pre-migrate", cause: "arrival", guest });
const start = (guest: Guest): LifecycleEvent => ({ event: "pre-start", cause: "start", guest });
const ALL = [
  ...["note-arrival", "store-key", "store-key", "format", "format", "activate-key", "activate-key"],
  ...["provide-secrets", "answer-configuration"],
];

let world: EventWorld;
let disks: WorldDisk[];
/** As it comes, with the keys of its source, which nobody here has. */
let guest: Guest;

beforeEach(() => {
  world = new EventWorld();
  disks = world.disks("vda", "vdb");
  guest = world.guest(disks);
});

/** As the host manager goes on with it. */
const here = () => world.host.migration.answers.at(-1)!;
const keysOf = ({ disks: { mapping } }: Guest) =>
  Object.values(mapping).map((disk) => disk.encryption_secret_uuid!);

function empty({ path }: WorldDisk): void {
  rmSync(path);
  writeFileSync(path, "");
  truncateSync(path, 8 * 1024 * 1024);
}

describe("a guest whose storage is copied here", () => {
  it("gets a key of its own for each empty volume, in the configuration that the host goes on with", async () => {
    expect(await world.handle(migrate(guest))).toEqual(ALL);
    const keys = keysOf(here());
    expect(new Set([...keys, ...keysOf(guest)]).size).toBe(4);
    expect(await world.states()).toEqual(["active", "active"]);
    expect([...world.host.passphrases.keys()].sort()).toEqual([...keys].sort());
    expect(world.arrivals.find(guest)).toMatchObject({
      copies: [
        { disk: "vda", from: { uuid: disks[0]!.uuid }, to: { uuid: keys[0] } },
        { disk: "vdb", from: { uuid: disks[1]!.uuid }, to: { uuid: keys[1] } },
      ],
    });
    for (const uuid of keys) {
      expect((await world.keystore.fetch(uuid))!.record).toMatchObject({ guest: { id: guest.id } });
    }
    expect(await world.handle(start(here()))).toEqual(["provide-secrets"]);
  });

  it("is planned with nothing changed, by a check too", async () => {
    const before = disks.map(({ path }) => sha256(path));
    expect(await world.plan(migrate(guest))).toEqual(ALL);
    expect(await world.handle({ event: "pre-migrate", cause: "check", guest })).toEqual(ALL);
    expect(disks.map(({ path }) => sha256(path))).toEqual(before);
    expect([await world.states(), world.arrivals.list(), world.host.migration.answers]).toEqual([[], [], []]);
  });

  it("keeps disks that are the same here as they are", async () => {
    const [vda] = disks;
    await world.startOnce(world.withId(world.guest([vda!]), guest.id), [vda!]);
    const done = await world.handle(migrate(guest));
    expect(done.filter((kind) => kind === "format")).toHaveLength(1);
    expect(keysOf(here())[0]).toBe(vda!.uuid);
    expect(world.arrivals.find(guest)).toMatchObject({ copies: [{ disk: "vdb" }] });
  });

  it("goes on when storage comes with its memory, and has somebody left behind for its configuration", async () => {
    await world.handle(migrate(guest));
    world.host.migration.comes = "memory-and-storage";
    expect(await world.handle(arrive(here()))).toEqual([]);
    expect(world.leftBehind).toEqual([{ command: "settle", guest: guest.id }]);
    expect(world.arrivals.find(guest)).toMatchObject({ stage: "arrived" });
  });

  it("is refused at the last moment if nothing but memory comes, also after a copy that was cut short", async () => {
    await world.handle(migrate(guest));
    expect(await codeOf(world.handle(arrive(here())))).toBe("STORAGE_NOT_COPIED");
    const keys = keysOf(here());
    await world.handle({ event: "post-stop", cause: "stop", guest: here() });
    // part of the data came before the network was cut
    world.writeBehindHeader(disks[0]!);
    expect(await world.handle(migrate(guest))).toEqual([
      "note-arrival",
      "provide-secrets",
      "answer-configuration",
    ]);
    expect(keysOf(here())).toEqual(keys);
    expect(await codeOf(world.handle(arrive(here())))).toBe("STORAGE_NOT_COPIED");
    expect([world.arrivals.list(), world.leftBehind]).toEqual([[], []]);
  });

  it("migrates back onto its old volumes, under the keys that it had there", async () => {
    await world.startOnce(guest, disks);
    const away = world.withId(world.guest(disks.map((disk) => ({ ...disk, uuid: newKeyUuid() }))), guest.id);
    expect(await world.handle(migrate(away))).toEqual([
      "note-arrival",
      "provide-secrets",
      "answer-configuration",
    ]);
    expect(keysOf(here())).toEqual(disks.map(({ uuid }) => uuid));
  });

  it("is refused, and nothing formatted, if it is shut off: then nothing is copied", async () => {
    world.host.migration.shutOff = true;
    expect(await codeOf(world.handle(migrate(guest)))).toBe("STORAGE_NOT_COPIED");
    expect(await world.states()).toEqual([]);
    expect(world.arrivals.list()).toEqual([]);
  });

  it("takes no volume that was another guest's or another disk's", async () => {
    await world.startOnce(world.guest(disks), disks);
    const away = world.guest(disks.map((disk) => ({ ...disk, uuid: newKeyUuid() })));
    expect(await codeOf(world.handle(migrate(away)))).toBe("LUKS_UUID_MISMATCH");
    const swapped = world.withId(
      world.guest([
        { ...disks[0]!, uuid: newKeyUuid(), path: disks[1]!.path },
        { ...disks[1]!, uuid: newKeyUuid(), path: disks[0]!.path },
      ]),
      guest.id,
    );
    expect(await codeOf(world.handle(migrate(swapped)))).toBe("LUKS_UUID_MISMATCH");
    expect(world.arrivals.list()).toEqual([]);
  });

  it("is refused if a volume was filled since an attempt that was killed", async () => {
    await world.handleUntil(migrate(guest), "store-key");
    writeFileSync(disks[1]!.path, "data".repeat(1024));
    expect(await codeOf(world.handle(migrate(guest)))).toBe("VOLUME_NOT_EMPTY");
    expect(world.host.passphrases.size).toBe(0);
  });

  it("gets another key where the volume was made anew since", async () => {
    await world.handle(migrate(guest));
    const [first] = keysOf(here());
    empty(disks[0]!);
    await world.handle(migrate(guest));
    expect(keysOf(here())[0]).not.toBe(first);
    expect(await world.handle(start(here()))).toEqual(["provide-secrets"]);
  });

  it.each([
    "note-arrival",
    "store-key",
    "format",
    "activate-key",
    "provide-secrets",
    "answer-configuration",
  ] as const)("goes on where an attempt was killed after %s", async (kind) => {
    await world.handleUntil(migrate(guest), kind);
    const noted = world.arrivals.find(guest);
    if (noted === undefined || noted === "damaged") throw new Error("nothing was noted");
    await world.handle(migrate(guest));
    expect(keysOf(here())).toEqual(noted.copies.map(({ to }) => to.uuid));
    expect(await world.states()).toEqual(["active", "active"]);
    expect(await world.handle(start(here()))).toEqual(["provide-secrets"]);
  });

  it("has nothing left if the host refuses a secret, but what the next attempt finds again", async () => {
    world.host.refusedDisk = "vdb";
    expect(await codeOf(world.handle(migrate(guest)))).toBe("HOST_SECRET_FAILED");
    expect([world.arrivals.list(), world.host.migration.answers]).toEqual([[], []]);
    world.host.refusedDisk = undefined;
    expect(await world.handle(migrate(guest))).toEqual([
      "note-arrival",
      "provide-secrets",
      "answer-configuration",
    ]);
    expect(await world.states()).toEqual(["active", "active"]);
  });

  it("keeps the note of an attempt that was killed when the next one fails", async () => {
    await world.handleUntil(migrate(guest), "store-key");
    const noted = world.arrivals.find(guest);
    world.host.refusedDisk = "vdb";
    expect(await codeOf(world.handle(migrate(guest)))).toBe("HOST_SECRET_FAILED");
    expect(world.arrivals.find(guest)).toEqual(noted);
  });
});

describe("a guest whose volumes are the same here", () => {
  beforeEach(async () => {
    await world.startOnce(guest, disks);
    await world.handle(migrate(guest));
  });

  it("goes on with its memory, and is not thought of any more", async () => {
    expect(await world.handle(arrive(guest))).toEqual([]);
    expect([world.arrivals.list(), world.leftBehind]).toEqual([[], []]);
  });

  it("is refused if storage is copied as well: the copy would have the same keys", async () => {
    world.host.migration.comes = "memory-and-storage";
    expect(await codeOf(world.handle(arrive(guest)))).toBe("COPY_SHARES_KEY");
  });

  it("is not, if another disk may be what is copied", async () => {
    world.host.migration.comes = "memory-and-storage";
    const more = world.withId(world.guest([...disks, ...world.disks("vdc")], "", "bare"), guest.id);
    expect(await world.handle(arrive(more))).toEqual([]);
  });

  it("is not thought of any more after its stop", async () => {
    await world.handle({ event: "post-stop", cause: "stop", guest });
    expect(world.arrivals.list()).toEqual([]);
  });
});

describe("the arrival of a guest", () => {
  it("is of no interest for one that nothing is known of", async () => {
    world.host.migration.comes = "memory-and-storage";
    expect(await world.handle(arrive(guest))).toEqual([]);
  });

  it("is refused if the note cannot be read, but for a guest that only starts here", async () => {
    await world.handle(migrate(guest));
    world.damageNote(guest);
    world.host.migration.comes = "memory-and-storage";
    expect(await codeOf(world.handle(arrive(here())))).toBe("STORAGE_NOT_COPIED");
    world.host.migration.comes = "nothing";
    expect(await world.handle(arrive(here()))).toEqual([]);
    expect(world.arrivals.find(guest)).toBeUndefined();
  });

  it("is over for a guest that has stopped and starts again, or is restored, which is settled all the same", async () => {
    await world.handle(migrate(guest));
    world.host.migration.comes = "memory-and-storage";
    await world.handle(arrive(here()));
    for (const comes of ["nothing", "memory"] as const) {
      world.leftBehind.length = 0;
      world.host.migration.comes = comes;
      expect(await world.handle(arrive(here()))).toEqual([]);
      expect(world.leftBehind).toEqual([{ command: "settle", guest: guest.id }]);
    }
  });

  it("was none if only the definition came, which starts nowhere, however often it is tried", async () => {
    await world.handle(migrate(guest));
    world.host.migration.comes = "nothing";
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await codeOf(world.handle(arrive(here())))).toBe("STORAGE_NOT_COPIED");
      await world.handle({ event: "post-stop", cause: "stop", guest: here() });
    }
    expect(world.arrivals.find(guest)).toMatchObject({ stage: "announced" });
  });
});

describe("a start of a guest that was not settled yet", () => {
  it("is refused with what to do while its configuration names the keys of the source", async () => {
    await world.handle(migrate(guest));
    const error = await world.handle(start(guest)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "LUKS_UUID_MISMATCH",
      hint: expect.stringContaining("luksmith reap") as string,
    });
    expect(await world.handle(start(here()))).toEqual(["provide-secrets"]);
  });
});
