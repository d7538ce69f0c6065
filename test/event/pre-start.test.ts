import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import type { Key } from "../../src/keystore/keystore.js";
import { parseSettings } from "../../src/settings/load.js";
import { SETTINGS } from "../../src/tokens.js";
import { FLAVOR_ASKS } from "../e2e/support/guests.js";
import { codeOf, sha256 } from "../storage/workshop.js";
import { EventWorld, type WorldDisk } from "./event-world.js";

const start = (guest: Guest): LifecycleEvent => ({ event: "pre-start", cause: "start", guest });
const FIRST_START = ["format", "format", "activate-key", "activate-key", "provide-secrets"];

const hashes = (disks: readonly WorldDisk[]) => disks.map(({ path }) => sha256(path));
const luksUuid = ({ path }: WorldDisk) => readFileSync(path).toString("latin1", 168, 204);

async function protectedGuest() {
  const world = new EventWorld();
  const disks = world.disks("vda", "vdb");
  const guest = world.guest(disks);
  await world.storePending(guest, disks);
  return { world, disks, guest };
}

describe("a start", () => {
  it("formats what is pending, marks it active and gives the host the stored passphrases", async () => {
    const { world, disks, guest } = await protectedGuest();
    expect(await world.handle(start(guest))).toEqual(FIRST_START);
    expect(disks.map(luksUuid)).toEqual(disks.map(({ uuid }) => uuid));
    expect(await world.states()).toEqual(["active", "active"]);
    for (const { uuid } of disks) expect(world.host.passphrases.get(uuid)).toBe(await world.passphrase(uuid));
  });

  it("only provides when it is not the first, without a lock and without a write", async () => {
    const { world, disks, guest } = await protectedGuest();
    await world.handle(start(guest));
    const before = hashes(disks);
    world.runner.commands.length = 0;
    expect(await world.handle(start(guest))).toEqual(["provide-secrets"]);
    expect(hashes(disks)).toEqual(before);
    expect(world.runner.lines).toEqual([]);
  });

  it("waits for copies of its keys when the host has them, for some seconds at most", async () => {
    const seen: unknown[] = [];
    const nothing = () => Promise.resolve(undefined);
    const settled = async (limit?: number) => {
      seen.push([world.host.passphrases.size, limit]);
      return nothing();
    };
    const gaveOut = () => Promise.resolve();
    const world = new EventWorld(undefined, [], { gaveOut, refused: gaveOut, lookUp: nothing, settled });
    const disks = world.disks("vda", "vdb");
    const guest = world.guest(disks);
    await world.storePending(guest, disks);
    await world.handle(start(guest));
    await world.handle({ event: "pre-start", cause: "reconnect", guest });
    expect(seen).toEqual([
      [2, 3000],
      [2, 3000],
    ]);
  });

  it("is planned without a change", async () => {
    const { world, disks, guest } = await protectedGuest();
    const before = hashes(disks);
    expect(await world.plan(start(guest))).toEqual(FIRST_START);
    expect(hashes(disks)).toEqual(before);
    expect(await world.states()).toEqual(["pending", "pending"]);
    expect(world.host.passphrases.size).toBe(0);
  });

  it("does nothing that another start did while it waited for the guest's lock", async () => {
    const { world, guest } = await protectedGuest();
    let meanwhile: Promise<unknown> | undefined;
    world.runner.before = async ({ tool }) => {
      if (tool !== "flock" || meanwhile !== undefined) return;
      meanwhile = world.handle(start(guest));
      await meanwhile;
    };
    expect(await world.handle(start(guest))).toEqual(["provide-secrets"]);
    expect(await meanwhile).toEqual(FIRST_START);
  });

  it("is not refused for what another start did between its looks at the key and at the volume", async () => {
    const world = new EventWorld();
    const disks = world.disks("vda");
    const guest = world.guest(disks, FLAVOR_ASKS);
    const find = world.keystore.fetch.bind(world.keystore);
    let meanwhile: Promise<unknown> | undefined;
    vi.spyOn(world.keystore, "fetch").mockImplementation(async (uuid) => {
      const key = await find(uuid);
      if (meanwhile === undefined) {
        meanwhile = world.handle(start(guest));
        await meanwhile;
      }
      return key;
    });
    expect(await world.handle(start(guest))).toEqual(["provide-secrets"]);
    expect(await meanwhile).toContain("format");
    expect(disks.map(luksUuid)).toEqual(disks.map(({ uuid }) => uuid));
  });

  it("takes back what it gave the host when it fails, and keeps the keys that encrypt by then", async () => {
    const { world, disks, guest } = await protectedGuest();
    world.host.refusedDisk = "vdb";
    expect(await codeOf(world.handle(start(guest)))).toBe("HOST_SECRET_FAILED");
    expect(world.host.passphrases.size).toBe(0);
    expect(await world.states()).toEqual(["active", "active"]);
    world.host.refusedDisk = undefined;
    expect(await world.handle(start(guest))).toEqual(["provide-secrets"]);
    expect(disks.map(luksUuid)).toEqual(disks.map(({ uuid }) => uuid));
  });

  it("adopts what an orchestrator defined", async () => {
    const world = new EventWorld();
    const disks = world.disks("vda");
    expect(await world.handle(start(world.guest(disks, FLAVOR_ASKS)))).toEqual([
      ...["store-key", "format", "activate-key", "provide-secrets"],
    ]);
    expect(disks.map(luksUuid)).toEqual(disks.map(({ uuid }) => uuid));
  });

  it("is refused before it stores a key for a volume that the settings let nobody format", async () => {
    const world = new EventWorld(undefined, ["raw"]);
    const disks = world.disks("vda");
    const guest = world.guest(disks, FLAVOR_ASKS);
    for (const manner of ["plan", "handle"] as const) {
      await expect(world[manner](start(guest))).rejects.toMatchObject({
        code: "VOLUME_FORMAT_FORBIDDEN",
        message: expect.stringMatching(/^cannot start guest web1: disk vda: /) as string,
      });
    }
    expect(await world.states()).toEqual([]);
  });

  it("opens what is formatted, on storage that the settings let nobody format", async () => {
    const { world, guest, disks } = await protectedGuest();
    await world.handle(start(guest));
    const never = new EventWorld(() => world.keystore, ["raw"]);
    expect(await never.handle(start(guest))).toEqual(["provide-secrets"]);
    expect(never.host.passphrases.size).toBe(disks.length);
  });

  it("deletes the keys that it made when the third cannot be made, and formats nothing", async () => {
    const world = new EventWorld((real) => {
      let stored = 0;
      return {
        ...{ name: "local", type: "file" },
        fetch: (uuid) => real.fetch(uuid),
        find: (query) => real.find(query),
        update: (record) => real.update(record),
        change: (uuid, change) => real.change(uuid, change),
        replace: (key, expected) => real.replace(key, expected),
        delete: (uuid: Parameters<typeof real.delete>[0]) => real.delete(uuid),
        store: (key: Key) => {
          stored += 1;
          if (stored < 3) return real.store(key);
          return Promise.reject(new LuksmithError("KEYSTORE_WRITE_FAILED", { what: "the keystore is full" }));
        },
      };
    });
    const disks = world.disks("vda", "vdb", "vdc");
    const before = hashes(disks);
    expect(await codeOf(world.handle(start(world.guest(disks, FLAVOR_ASKS))))).toBe("KEYSTORE_WRITE_FAILED");
    expect(await world.states()).toEqual([]);
    expect(hashes(disks)).toEqual(before);
    expect(world.logger.errors).toEqual([]);
  });
});

describe("a restore from saved memory", () => {
  it("only provides", async () => {
    const { world, guest } = await protectedGuest();
    await world.handle(start(guest));
    expect(await world.handle({ event: "pre-start", cause: "restore", guest })).toEqual(["provide-secrets"]);
  });

  it("never formats", async () => {
    const { world, disks, guest } = await protectedGuest();
    const before = hashes(disks);
    expect(await codeOf(world.handle({ event: "pre-start", cause: "restore", guest }))).toBe(
      "VOLUME_NOT_FORMATTED",
    );
    expect(hashes(disks)).toEqual(before);
  });

  it("is refused, and planned so, where the settings refuse saved memory", async () => {
    const { world, guest } = await protectedGuest();
    const settings = parseSettings('{"version":1,"savedMemory":"refuse"}', "the test");
    world.container.value(SETTINGS, settings);
    const restore: LifecycleEvent = { event: "pre-start", cause: "restore", guest };
    expect(await codeOf(world.plan(restore))).toBe("SAVED_MEMORY_REFUSED");
    expect(await codeOf(world.handle(restore))).toBe("SAVED_MEMORY_REFUSED");
    expect(world.host.passphrases.size).toBe(0);
    expect(await world.plan(start(guest))).toEqual(FIRST_START);
  });
});

describe("a reconnect to a running guest", () => {
  const reconnect = (guest: Guest): LifecycleEvent => ({ event: "pre-start", cause: "reconnect", guest });

  it("provides every passphrase that there is, whatever is wrong with volumes, keys and wishes", async () => {
    const { world, disks } = await protectedGuest();
    const [vda, vdb] = disks;
    rmSync(vda!.path);
    writeFileSync(`${world.directory}/keystore/records/${vdb!.uuid}.json`, "{", { mode: 0o600 });
    const asking = world.guest(
      disks,
      "<luksmith:encryption xmlns:luksmith='urn:luksmith:guest:1' profile='none'/>",
    );
    expect(await world.handle(reconnect(asking))).toEqual(["provide-secrets"]);
    expect([...world.host.passphrases.keys()]).toEqual([vda!.uuid]);
  });

  it("touches no volume, be it of a kind that no storage backend knows, and warns of a key that it cannot have", async () => {
    const { world, disks, guest } = await protectedGuest();
    const warn = vi.spyOn(world.logger, "warn");
    writeFileSync(`${world.directory}/keystore/records/${disks[1]!.uuid}.json`, "{", { mode: 0o600 });
    const mapping = Object.values(guest.disks.mapping).map((disk) => {
      const volume = { kind: "block", path: "/dev/vg/x", format: "raw" } as const;
      return [disk.dev, { ...disk, volume }] as const;
    });
    const moved = { ...guest, disks: { ...guest.disks, mapping: Object.fromEntries(mapping) } };
    expect(await world.handle(reconnect(moved))).toEqual(["provide-secrets"]);
    expect([...world.host.passphrases.keys()]).toEqual([disks[0]!.uuid]);
    expect(warn).toHaveBeenCalledExactlyOnceWith(
      expect.any(String),
      expect.objectContaining({ disk: "vdb" }),
    );
  });

  it("has nothing to do for a guest that nobody encrypted", async () => {
    const world = new EventWorld();
    expect(await world.handle(reconnect(world.guest(world.disks("vda"))))).toEqual([]);
  });
});
