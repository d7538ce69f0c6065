import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { UnderWay } from "../../src/host/host-adapter.js";
import type { KeyCache } from "../../src/keystore/cache/key-cache.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { KeyUses } from "../../src/rotate/key-uses.js";
import { type DiskResult, rotateGuest, type RotationWish } from "../../src/rotate/rotate-guest.js";
import * as reached from "../../src/storage/block/reached-by-others.js";
import { StorageRegistry } from "../../src/storage/index.js";
import * as devices from "../../src/storage/lvm/lvm-device.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { guestWith, HostWithGuests } from "./host-with-guests.js";
import { RotationWorld } from "./rotation-world.js";

vi.mock("../../src/storage/block/reached-by-others.js", { spy: true });
vi.mock("../../src/storage/lvm/lvm-device.js", { spy: true });

const AWAY = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "the keystore does not answer" });

let world: RotationWorld;
let host: HostWithGuests;
let disk: DiskMapping;
const reconnected: string[] = [];
let cached: Keystore | undefined;
/** Of this host, whose keystores are away. */
let cache: KeyCache | undefined;
/** Whether the volume is on storage of several hosts. */
let isShared = false;
let backend: StorageBackend;
/** Seconds that a key's lock is waited for. */
let patience: number | undefined;

beforeEach(async () => {
  world = await new RotationWorld("raw").format();
  host = new HostWithGuests();
  cached = undefined;
  cache = undefined;
  isShared = false;
  patience = undefined;
  ({ backend } = world.workshop);
  reconnected.length = 0;
  disk = {
    ...{ bus: "virtio", dev: "vda", type: "disk", encrypted: true, encryption_format: "luks" },
    ...{ encryption_secret_uuid: world.uuid, volume: world.volume, readOnly: false },
  };
  host.guests = [guestWith("web1", disk)];
});
afterEach(() => {
  world[Symbol.dispose]();
});

function withoutKey(named: DiskMapping): DiskMapping {
  const { encryption_secret_uuid, ...rest } = named;
  expect(encryption_secret_uuid).toBeDefined();
  return rest;
}

async function rotate(wish: Partial<RotationWish> = {}): Promise<DiskResult["result"]> {
  const { keystore, workshop, logger, audit, keyslots, vault } = world;
  const stores = [keystore, ...(cached === undefined ? [] : [cached])];
  const copies = cache;
  const keyring = new Keyring(
    stores.map((one) => ({
      name: one.name,
      make: () => (copies === undefined ? Promise.resolve(one) : Promise.reject(AWAY)),
    })),
    copies && (() => Promise.resolve(copies)),
  );
  const [result] = await rotateGuest(
    "web1",
    { manner: "apply", ...wish },
    {
      ...{ host, keyring, logger, audit, keyslots, vault, clock: world, runner: workshop.runner },
      storage: new StorageRegistry([backend]),
      locks: new KeyLocks(workshop.runner, workshop.lockDirectory, patience),
      preparation: {
        reconnect: ({ name }) => {
          reconnected.push(name);
          return Promise.resolve({ stages: [] });
        },
      },
      uses: () => KeyUses.of(host),
      isSeenByOthers: () => Promise.resolve(isShared),
    },
  );
  if (result === undefined) throw new Error("the guest has no disk");
  return result.result;
}

async function refusal(wish?: Partial<RotationWish>): Promise<string> {
  const header = await world.header();
  const result = await rotate(wish).catch((thrown: unknown) => {
    if (thrown instanceof LuksmithError) return { kind: "failed", error: thrown } as const;
    throw thrown;
  });
  expect((await world.header()).equals(header)).toBe(true);
  expect(await world.keystore.find({ archivedOf: world.uuid })).toEqual([]);
  return result.kind === "failed" ? result.error.code : result.kind;
}

it("two rotations of one disk at once follow each other", async () => {
  const ended = await Promise.all([rotate(), rotate()]);
  expect(ended.map(({ kind }) => kind)).toEqual(["rotated", "rotated"]);
  expect([await world.opens(), await world.formersThatOpen()]).toEqual([true, 0]);
  expect((await world.record()).generation).toBe(3);
});

it("fails where somebody works with its key, and passes it over where nobody has named its guest", async () => {
  const { runner, lockDirectory } = world.workshop;
  patience = 1;
  await new KeyLocks(runner, lockDirectory).hold(world.uuid, async () => {
    expect(await refusal()).toBe("LOCK_TIMEOUT");
    world.audit.uses.length = 0;
    expect(await refusal({ scope: "all" })).toBe("skipped");
    expect(world.audit.uses).toEqual([]);
  });
});

it("gives the new passphrase to every guest that has a host secret of the key", async () => {
  host.guests = [
    { ...guestWith("web1", disk), running: true },
    { ...guestWith("over", { ...withoutKey(disk), backingSecretUuids: [world.uuid] }), running: true },
  ];
  using secret = (await world.key()).passphrase;
  for (const guest of host.guests)
    await host.provideSecrets(guest, [{ uuid: world.uuid, disk: "vda", passphrase: secret }]);
  expect(await rotate()).toEqual({ kind: "rotated" });
  expect(reconnected).toEqual(["web1", "over"]);
});

it("leaves the former passphrase to a guest that begins to start meanwhile, and the next call ends it", async () => {
  let looks = 0;
  host.underWay = () => Promise.resolve(++looks > 1 ? "leaving" : undefined);
  expect(await rotate()).toMatchObject({ kind: "failed", error: { code: "ROTATION_REFUSED" } });
  expect([await world.opens(), await world.formersThatOpen()]).toEqual([true, 1]);
  host.underWay = () => Promise.resolve(undefined);
  expect(await rotate()).toEqual({ kind: "finished" });
  expect(await world.formersThatOpen()).toBe(0);
});

it("passes over a passphrase that is not old enough, but for one whose rotation was cut short", async () => {
  expect(await refusal({ isDue: () => false })).toBe("recent");
  await world.keystore.update({
    ...(await world.record()),
    rotation: { startedAt: "2026-08-01", keyslot: 1 },
  });
  expect(await rotate({ isDue: () => false })).toEqual({ kind: "rotated" });
});

it("changes nothing when it only says what it would do", async () => {
  expect(await refusal({ manner: "dry-run" })).toBe("would-rotate");
});

describe("of a guest that nobody has named", () => {
  const all = { scope: "all" } as const;

  it.each([
    ["it is not formatted yet", { state: "pending" }],
    [
      "plain dm-crypt has no keyslots",
      { encryption: { format: "plain", cipher: "c", keySize: 256, hash: "plain" } },
    ],
  ] as const)("passes a disk over, since %s", async (why, change) => {
    await world.keystore.update({ ...(await world.record()), ...change });
    expect(await rotate(all)).toEqual({ kind: "skipped", why });
    expect(world.audit.uses).toEqual([]);
  });

  it("passes over a key that is another program's", async () => {
    await world.keystore.delete(world.uuid);
    expect(await rotate(all)).toEqual({ kind: "skipped", why: "its key is in no keystore" });
    expect(world.audit.uses).toEqual([]);
  });

  it("passes over what cannot be rotated now, but looks at the age first", async () => {
    host.guests = [{ ...guestWith("web1", disk), saved: true }];
    expect(await rotate({ ...all, isDue: () => false })).toMatchObject({ kind: "recent" });
    expect(await rotate(all)).toEqual({ kind: "skipped", why: "it was saved while it was running" });
    expect(world.audit.uses).toEqual([]);
  });
});

describe("a volume that other hosts have too", () => {
  beforeEach(() => {
    isShared = true;
  });

  it("is left to the host where its guest runs", async () => {
    await using holder = await openWithQemu(world.volume.path);
    expect(holder.exitCode).toBeNull();
    expect(await refusal()).toBe("ROTATION_REFUSED");
    expect(await rotate({ scope: "all" })).toMatchObject({ kind: "skipped" });
    expect(await refusal({ scope: "all" })).toBe("skipped");
  });

  it("is looked at without any lock, which a start of its guest would fail over", async () => {
    const locked = vi.spyOn(world.workshop.backend, "changeHeader");
    expect(await rotate({ manner: "dry-run" })).toMatchObject({ kind: "would-rotate" });
    expect(locked).not.toHaveBeenCalled();
    await using holder = await openWithQemu(world.volume.path);
    expect(holder.exitCode).toBeNull();
    expect(await rotate({ manner: "dry-run", scope: "all" })).toMatchObject({ kind: "skipped" });
    expect(locked).not.toHaveBeenCalled();
  });

  it("is rotated here while nobody has it open, and while a guest that runs here has", async () => {
    expect(await rotate()).toEqual({ kind: "rotated" });
    host.guests = [{ ...guestWith("web1", disk), running: true }];
    await using holder = await openWithQemu(world.volume.path);
    expect(holder.exitCode).toBeNull();
    expect(await rotate()).toEqual({ kind: "rotated" });
  });
});

describe("a block device that other hosts may reach", () => {
  beforeEach(() => {
    backend = fakeBlockBackend(world.workshop.backend);
    disk = { ...disk, volume: { ...world.volume, kind: "block" } };
    host.guests = [guestWith("web1", disk)];
    vi.mocked(reached.reachedByOthers).mockImplementation((number) =>
      number === "8:16" ? "iSCSI" : undefined,
    );
    vi.mocked(devices.blockDeviceAt).mockResolvedValue("8:16");
  });
  afterEach(() => {
    vi.mocked(reached.reachedByOthers).mockReset();
    vi.mocked(devices.blockDeviceAt).mockReset();
  });

  it("is passed over where nobody has named it and no guest of this host has it open", async () => {
    expect(await refusal({ scope: "all" })).toBe("skipped");
    expect(await rotate({ scope: "all" })).toMatchObject({ why: expect.stringContaining("iSCSI") as string });
    expect(world.audit.uses).toEqual([]);
    host.guests = [{ ...guestWith("web1", disk), running: true }];
    expect(await rotate({ scope: "all" })).toEqual({ kind: "rotated" });
  });

  it("is passed over as well where it is a logical volume that is not active until it is looked at", async () => {
    vi.mocked(devices.blockDeviceAt).mockResolvedValueOnce("absent");
    expect(await refusal({ scope: "all" })).toBe("skipped");
  });

  it("is rotated where its guest is named, with a warning", async () => {
    expect(await rotate()).toEqual({ kind: "rotated" });
    expect(world.logger.warnings.map(({ message }) => message)).toEqual([expect.stringContaining("iSCSI")]);
  });

  it("is rotated with all others where it is this host's alone", async () => {
    vi.mocked(devices.blockDeviceAt).mockResolvedValue("8:0");
    expect(await rotate({ scope: "all" })).toEqual({ kind: "rotated" });
  });
});

/** Has image files as if they were block devices, which not every host of tests has. */
function fakeBlockBackend(real: StorageBackend): StorageBackend {
  const file = (volume: Volume): Volume => (volume.kind === "block" ? { ...volume, kind: "file" } : volume);
  return Object.assign(Object.create(real) as StorageBackend, {
    accepts: (volume: Volume) => real.accepts(file(volume)),
    probe: (volume: Volume, depth) => real.probe(file(volume), depth),
    testPassphrase: (volume: Volume, passphrase) => real.testPassphrase(file(volume), passphrase),
    readHeader: (volume: Volume) => real.readHeader(file(volume)),
    changeHeader: (volume: Volume, ...change) => real.changeHeader(file(volume), ...change),
  } satisfies Partial<StorageBackend>);
}

/** A QEMU that has the volume open for writing, as that of a guest of another host has on storage with locks. */
async function openWithQemu(path: string): Promise<{ exitCode: number | null } & AsyncDisposable> {
  const child = spawn("/usr/bin/qemu-io", ["-f", "raw", path], { stdio: ["pipe", "pipe", "inherit"] });
  // it has the lock when it asks for what to do
  await once(child.stdout, "data");
  return Object.assign(child, {
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
    },
  });
}

describe("refuses", () => {
  it.each<UnderWay>(["starting", "leaving"])("a guest that is %s", async (state) => {
    host.state = state;
    expect(await refusal()).toBe("ROTATION_REFUSED");
  });

  it("a guest that was saved", async () => {
    host.guests = [{ ...guestWith("web1", disk), saved: true }];
    expect(await refusal()).toBe("ROTATION_REFUSED");
  });

  it("a key that a copy of the volume has too, in whatever guest", async () => {
    const path = join(world.workshop.directory, "copy.img");
    copyFileSync(world.volume.path, path);
    host.guests.push(guestWith("copy", { ...disk, volume: { ...world.volume, path } }));
    expect(await refusal()).toBe("ROTATION_REFUSED");
  });

  it("a copy once, and says how it gets a key of its own", async () => {
    const path = join(world.workshop.directory, "copy.img");
    copyFileSync(world.volume.path, path);
    host.guests.push(guestWith("copy", { ...disk, volume: { ...world.volume, path } }));
    expect(await rotate()).toMatchObject({
      error: {
        message: "cannot rotate disk vda of guest web1: disk vda of guest copy has the same key",
        hint: expect.stringContaining("luksmith separate copy vda") as string,
      },
    });
  });

  it("a copy of the volume that the key was made for", async () => {
    const path = join(world.workshop.directory, "copy.img");
    copyFileSync(world.volume.path, path);
    host.guests = [guestWith("web1", { ...disk, volume: { ...world.volume, path } })];
    expect(await refusal()).toBe("ROTATION_REFUSED");
  });

  it("a key that two keystores have", async () => {
    const real = world.keystore;
    cached = {
      ...{ name: "other", type: "file", store: () => Promise.resolve(), update: () => Promise.resolve() },
      ...{ replace: () => Promise.resolve(), find: () => Promise.resolve([]) },
      change: (uuid, change) => real.change(uuid, change),
      fetch: (uuid) => real.fetch(uuid),
    };
    expect(await refusal()).toBe("ROTATION_REFUSED");
  });

  it.each([
    ["CONVERSION_UNFINISHED", { conversion: { to: "encrypted", startedAt: "2026-08-01" } }],
    ["DISK_NOT_ENCRYPTED", { state: "pending" }],
    ["ROTATION_REFUSED", { encryption: { format: "plain", cipher: "c", keySize: 256, hash: "plain" } }],
  ] as const)("with %s what its record says", async (code, change) => {
    await world.keystore.update({ ...(await world.record()), ...change });
    expect(await refusal()).toBe(code);
  });

  it("a key of which only this host's copy can be had", async () => {
    const keystore = world.keystore;
    cache = {
      ...{ gaveOut: () => Promise.resolve(), refused: () => Promise.resolve() },
      settled: () => Promise.resolve(),
      lookUp: async (_, uuid) => {
        const key = await keystore.fetch(uuid);
        return key && { key, keystore: keystore.name, since: new Date(0) };
      },
    };
    expect(await refusal()).toBe("KEYSTORE_UNAVAILABLE");
    expect(await refusal({ manner: "dry-run" })).toBe("KEYSTORE_UNAVAILABLE");
  });

  it("a key that no keystore has", async () => {
    await world.keystore.delete(world.uuid);
    expect(await rotate()).toMatchObject({ kind: "failed", error: { code: "KEY_NOT_FOUND" } });
  });

  it("a disk that the guest does not have, or that is not encrypted", async () => {
    const plain = { ...withoutKey(disk), dev: "vdb", encrypted: false };
    host.guests = [guestWith("web1", disk, plain)];
    expect(await refusal({ disks: ["vdx"] })).toBe("DISK_NOT_FOUND");
    expect(await refusal({ disks: ["vdb"] })).toBe("DISK_NOT_ENCRYPTED");
  });
});
