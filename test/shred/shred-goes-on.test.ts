import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { Secret } from "../../src/secret/secret.js";
import { type SmallDisk, smallDisk } from "../fs/small-disk.js";
import { temporaryDirectory } from "../fs/tree.js";
import { disk, guestWith } from "../plan/builders.js";
import { codeOf, makeImage, SPEC } from "../storage/workshop.js";
import { NOBODY, PASSPHRASES, ShredWorld } from "./shred-world.js";

const SECTOR = 512;
const down = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "down" });

describe.each(["raw", "qcow2"] as const)(
  "a destruction of a disk of format %s that was cut short",
  (format) => {
    let world: ShredWorld;

    beforeEach(async () => {
      world = new ShredWorld(temporaryDirectory(), format);
      await world.fill();
    });

    /** The header is destroyed, and nothing else. */
    async function begin(): Promise<void> {
      const destroy = world.vault.destroy.bind(world.vault);
      world.vault.destroy = () => Promise.reject(down);
      expect(await codeOf(world.shred())).toBe(down.code);
      world.vault.destroy = destroy;
      expect(await world.opening()).toEqual([]);
      expect(existsSync(noteOf(world))).toBe(true);
    }

    /** Writes the header's sectors anew as `choose` says: those of before, or those of now. */
    async function mix(
      before: Buffer,
      choose: (sector: number) => "before" | "now" | "noise",
    ): Promise<void> {
      await world.backend.changeHeader(world.volume, before.length, (now) => {
        const bytes = Buffer.from(now);
        for (let at = 0; at < bytes.length; at += SECTOR) {
          const kind = choose(at / SECTOR);
          if (kind === "before") before.copy(bytes, at, at, at + SECTOR);
          if (kind === "noise") bytes.fill(0x5a, at, at + SECTOR);
        }
        return Promise.resolve([{ offset: 0, bytes }]);
      });
    }

    it("is ended, whichever sectors of the header are overwritten", async () => {
      const header = await world.backend.readHeader(world.volume);
      await begin();
      await mix(header, (sector) => (sector % 3 === 0 ? "now" : "before"));
      await world.shred();
      expect(await world.left()).toEqual([]);
      expect(existsSync(noteOf(world))).toBe(false);
    });

    it("is not gone on with where one sector is something else", async () => {
      const header = await world.backend.readHeader(world.volume);
      await begin();
      await mix(header, (sector) => (sector === 0 ? "now" : sector === 9 ? "noise" : "before"));
      // nor does a copy prove whose the rest is
      await world.vault.destroy(world.key);
      const bytes = world.bytes();
      expect(await codeOf(world.shred())).toBe("LUKS_UUID_MISMATCH");
      expect(world.bytes().equals(bytes)).toBe(true);
      expect(await world.left()).toContain("key active");
    });

    it("needs two persons again where its header is there again", async () => {
      const header = await world.backend.readHeader(world.volume);
      await begin();
      await mix(header, () => "before");
      expect(await world.opening()).toEqual([...PASSPHRASES]);
      world.persons = 2;
      expect(await codeOf(world.shred())).toBe("SHRED_NOT_APPROVED");
      expect(await world.opening()).toEqual([...PASSPHRASES]);
    });

    it("is ended by one person where its header is gone", async () => {
      await begin();
      world.persons = 2;
      await world.shred();
      expect(await world.left()).toEqual([]);
    });

    it("is refused on a volume of another name, until it has its own back", async () => {
      await begin();
      const { path } = world.volume;
      const moved = join(world.directory, "moved.img");
      renameSync(path, moved);
      world.host.guests = [guestOn(world, moved)];
      expect(await codeOf(world.shred())).toBe("SHRED_REFUSED");
      expect(await world.left()).toContain("key active");
      renameSync(moved, path);
      world.host.guests = [world.guest()];
      await world.shred();
      expect(await world.left()).toEqual([]);
    });

    it("leaves another guest's volume alone that has its volume's name by now", async () => {
      await begin();
      const { path } = world.volume;
      const moved = join(world.directory, "moved.img");
      renameSync(path, moved);
      using theirs = Secret.own(Buffer.from("another guest's passphrase"));
      const theirVolume = await makeTheirs(world, theirs);
      world.host.guests = [guestOn(world, moved), innocent(theirVolume)];
      const bytes = readFileSync(path);
      expect(await codeOf(world.shred())).toBe("SHRED_REFUSED");
      expect(readFileSync(path).equals(bytes)).toBe(true);
      // nor is it taken for what was begun when it is named itself
      world.host.guests = [];
      await world.shredder().shred({ kind: "volume", volume: path }, NOBODY);
      expect((await world.keystore.list()).map(({ state }) => state)).toContain("active");
    });
  },
);

describe("a destruction that failed before anything was destroyed", () => {
  let world: ShredWorld;

  beforeEach(async () => {
    world = new ShredWorld(temporaryDirectory(), "raw");
    await world.fill();
  });

  async function fail(): Promise<void> {
    const record = world.audit.record.bind(world.audit);
    world.audit.record = () => Promise.reject(new Error("no room"));
    await expect(world.shred()).rejects.toThrow();
    world.audit.record = record;
    expect(await world.opening()).toEqual([...PASSPHRASES]);
  }

  it("is as if it had not been: the volume that gets the name is left alone", async () => {
    await fail();
    const moved = join(world.directory, "moved.img");
    renameSync(world.volume.path, moved);
    using theirs = Secret.own(Buffer.from("another guest's passphrase"));
    const theirVolume = await makeTheirs(world, theirs);
    world.host.guests = [guestOn(world, moved), innocent(theirVolume)];
    await world.shred();
    await world.backend.testPassphrase(theirVolume, theirs);
    const own = world.backend.testPassphrase({ ...world.volume, path: moved }, theirs);
    expect(await codeOf(own)).toBe("VOLUME_NOT_FORMATTED");
    expect(await world.keystore.list()).toEqual([]);
  });

  it("is no approval", async () => {
    world.persons = 2;
    const [alice, bob] = [1000, 1001].map((uid) => ({ ...NOBODY, uid }));
    await world.shredder().request({ kind: "guest", guest: "web1", disks: [] }, alice!);
    const record = world.audit.record.bind(world.audit);
    world.audit.record = () => Promise.reject(new Error("no room"));
    await expect(world.shred(bob)).rejects.toThrow();
    world.audit.record = record;
    world.now = new Date(world.now.getTime() + 100 * 86_400_000);
    expect(await codeOf(world.shred())).toBe("SHRED_NOT_APPROVED");
    expect(await codeOf(world.shred(bob))).toBe("SHRED_NOT_APPROVED");
    expect(await world.opening()).toEqual([...PASSPHRASES]);
  });

  it("leaves no note where the storage refuses the write", async () => {
    const changeHeader = world.backend.changeHeader.bind(world.backend);
    const failure = new LuksmithError("VOLUME_WRITE_FAILED", { what: "I/O error" });
    world.backend.changeHeader = (volume, length, change, users) =>
      changeHeader(
        volume,
        length,
        async (header) => {
          const pieces = await change(header);
          if (pieces.length > 0) throw failure;
          return pieces;
        },
        users,
      );
    expect(await codeOf(world.shred())).toBe("VOLUME_WRITE_FAILED");
    expect(existsSync(noteOf(world))).toBe(false);
    expect(await world.opening()).toEqual([...PASSPHRASES]);
  });

  it("and a header that changes between the look and the write is not destroyed", async () => {
    using current = Secret.own(Buffer.from(PASSPHRASES[0]));
    using added = Secret.own(Buffer.from("one more passphrase"));
    const changeHeader = world.backend.changeHeader.bind(world.backend);
    let isReady = false;
    // the last look is over when all is seen to be free
    world.backend.changeHeader = async (volume, length, change, users) => {
      await changeHeader(volume, length, change, users);
      if (users !== "excluded" || isReady) return;
      isReady = true;
      await world.addKeyslot(current, added);
    };
    expect(await codeOf(world.shred())).toBe("SHRED_REFUSED");
    expect(isReady).toBe(true);
    expect(await world.opening()).toEqual([...PASSPHRASES]);
    expect(existsSync(noteOf(world))).toBe(false);
  });
});

describe("where there is no room", () => {
  let world: ShredWorld;
  let small: SmallDisk;

  beforeEach(async () => {
    world = new ShredWorld(temporaryDirectory(), "raw");
    await world.fill();
  });

  /** Notes and records have a file system of their own. */
  function beside(): void {
    small = smallDisk();
    symlinkSync(small.path, world.state);
  }

  it.each(["bytes", "inodes"] as const)("for a note, nothing is destroyed: %s", async (what) => {
    beside();
    const left = await world.left();
    small.fill(what);
    expect(await codeOf(world.shred())).toBe("NOT_PERMITTED");
    expect(await world.left()).toEqual(left);
    small.free();
    await world.shred();
    expect(await world.left()).toEqual([]);
  });

  it("for a record, the next call writes it", async () => {
    beside();
    const remove = world.keystore.delete.bind(world.keystore);
    world.keystore.delete = async (uuid) => {
      await remove(uuid);
      if (uuid === world.key) small.fill("bytes");
    };
    expect(await codeOf(world.shred())).toBe("NOT_PERMITTED");
    expect(await world.left()).toEqual([]);
    small.free();
    const [path = ""] = await world.shred();
    expect(readFileSync(path, "utf8")).toContain(world.key);
    expect(existsSync(noteOf(world))).toBe(false);
  });
});

it("a volume that vanishes when nothing of its header is left is not waited for", async () => {
  const world = new ShredWorld(temporaryDirectory(), "raw");
  await world.fill();
  const { path } = world.volume;
  const destroy = world.vault.destroy.bind(world.vault);
  world.vault.destroy = async (uuid) => {
    await destroy(uuid);
    renameSync(path, `${path}.away`);
  };
  await world.shred();
  expect(await world.left()).toEqual([]);
  expect(existsSync(noteOf(world))).toBe(false);
});

it("a volume that vanishes before that keeps its key", async () => {
  const world = new ShredWorld(temporaryDirectory(), "raw");
  await world.fill();
  const { path } = world.volume;
  const changeHeader = world.backend.changeHeader.bind(world.backend);
  let calls = 0;
  world.backend.changeHeader = async (volume, length, change, users) => {
    await changeHeader(volume, length, change, users);
    if (users === "excluded" && ++calls === 2) renameSync(path, `${path}.away`);
  };
  expect(await codeOf(world.shred())).toBe("VOLUME_NOT_FOUND");
  expect(await world.left()).toContain("key active");
  expect(await codeOf(world.shred())).toBe("VOLUME_NOT_FOUND");
  renameSync(`${path}.away`, path);
  await world.shred();
  expect(await world.left()).toEqual([]);
});

describe.each(["raw", "qcow2"] as const)("a volume of format %s whose header is destroyed", (format) => {
  let world: ShredWorld;
  const wish = () => ({ kind: "volume", volume: world.volume.path }) as const;

  beforeEach(async () => {
    world = new ShredWorld(temporaryDirectory(), format);
    await world.fill();
    const remove = world.keystore.delete.bind(world.keystore);
    world.keystore.delete = () => Promise.reject(down);
    expect(await codeOf(world.shred())).toBe(down.code);
    expect(await world.left()).toContain("key active");
    world.keystore.delete = remove;
  });

  it("may be gone when the rest of its key is destroyed", async () => {
    rmSync(world.volume.path);
    const [record = ""] = await world.shred();
    expect(readFileSync(record, "utf8")).toContain(world.key);
    expect(await world.left()).toEqual([]);
    expect(existsSync(noteOf(world))).toBe(false);
  });

  it("may be gone with its guest", async () => {
    rmSync(world.volume.path);
    world.host.guests = [];
    await world.shredder().shred(wish(), NOBODY);
    expect(await world.left()).toEqual([]);
  });

  it("may be another guest's by now, who keeps it", async () => {
    rmSync(world.volume.path);
    using theirs = Secret.own(Buffer.from("another guest's passphrase"));
    const theirVolume = await makeTheirs(world, theirs);
    world.host.guests = [world.guest(), { ...innocent(theirVolume), running: false }];
    const bytes = world.bytes();
    await world.shred();
    expect(await world.left()).toEqual([]);
    expect(world.bytes().equals(bytes)).toBe(true);
  });

  it("is looked for where another guest has its key", async () => {
    rmSync(world.volume.path);
    const other = { ...world.guest(), id: "22222222-2222-4333-8444-555555555555", name: "web2" };
    world.host.guests = [world.guest(), other];
    expect(await codeOf(world.shred())).toBe("SHRED_REFUSED");
    expect(await world.left()).toContain("key active");
  });
});

describe.each(["raw", "qcow2"] as const)("a damaged header on a volume of format %s", (format) => {
  let world: ShredWorld;

  async function damage(bytes: Buffer): Promise<void> {
    const { length } = await world.backend.readHeader(world.volume);
    await world.backend.changeHeader(world.volume, length, () => Promise.resolve([{ offset: 0, bytes }]));
  }

  beforeEach(async () => {
    world = new ShredWorld(temporaryDirectory(), format);
    await world.fill();
  });

  it.each(["guest", "volume"] as const)("is shredded with what is left of it: by its %s", async (by) => {
    const [{ path } = { path: "" }] = world.vault.backups(world.key);
    const copy = readFileSync(path);
    await damage(Buffer.alloc(SECTOR, 0x5a));
    if (by === "volume") world.host.guests = [];
    if (by === "guest") await world.shred();
    else await world.shredder().shred({ kind: "volume", volume: world.volume.path }, NOBODY);
    expect(await world.left()).toEqual([]);
    expect(world.bytes().includes(copy.subarray(4096, 4096 + SECTOR))).toBe(false);
  });

  it("is left alone where nothing proves that it was the key's", async () => {
    const { length } = await world.backend.readHeader(world.volume);
    await damage(Buffer.alloc(length, 0x5a));
    const bytes = world.bytes();
    expect(await codeOf(world.shred())).toBe("LUKS_UUID_MISMATCH");
    expect(world.bytes().equals(bytes)).toBe(true);
    expect(await world.left()).toContain("key active");
  });
});

it("a change of the passphrase that its host has died over is ended by the destruction, without its guest", async () => {
  const world = new ShredWorld(temporaryDirectory(), "raw");
  await world.fill();
  const rotation = {
    ...{ startedAt: "2025-12-31T00:00:00Z", keyslot: 5, id: "0123456789abcdef", host: "another-host" },
  };
  await world.keystore.change(world.key, (record) => ({ ...record, rotation }));
  world.host.guests = [];
  await world.shredder().shred({ kind: "volume", volume: world.volume.path }, NOBODY);
  expect(await world.left()).toEqual([]);
});

it("a damaged note of one key keeps no other volume from being shredded by its name", async () => {
  const world = new ShredWorld(temporaryDirectory(), "raw");
  await world.fill();
  world.host.guests = [];
  mkdirSync(world.state, { mode: 0o700 });
  writeFileSync(join(world.state, `${newKeyUuid()}.json`), "{", { mode: 0o600 });
  const shred = () => world.shredder().shred({ kind: "volume", volume: world.volume.path }, NOBODY);
  writeFileSync(noteOf(world), "{", { mode: 0o600 });
  expect(await codeOf(shred())).toBe("SHRED_REFUSED");
  expect(await world.opening()).toEqual([...PASSPHRASES]);
  rmSync(noteOf(world));
  await shred();
  expect(await world.left()).toEqual([]);
});

it("starts do not wait for somebody who has the key", async () => {
  const world = new ShredWorld(temporaryDirectory(), "raw");
  await world.fill();
  const locks = new GuestLocks(world.runner, world.locks);
  await new KeyLocks(world.runner, world.locks).hold(world.key, async () => {
    const shred = codeOf(world.shred());
    while (!(await locks.isHeld(world.guest()))) await setTimeout(5);
    // the one that waits for the key has its place in the line by now
    await setTimeout(100);
    const first = await Promise.race([
      locks.announceStart(world.guest()).then(() => "start"),
      shred.then(() => "shred"),
    ]);
    expect(first).toBe("start");
    expect(await shred).toBe("LOCK_TIMEOUT");
  });
});

function noteOf(world: ShredWorld): string {
  return join(world.state, `${world.key}.json`);
}

function guestOn(world: ShredWorld, path: string) {
  const [mapping] = Object.values(world.guest().disks.mapping);
  if (mapping === undefined) throw new Error("no disk");
  return { ...world.guest(), ...guestWith({ ...mapping, volume: { ...world.volume, path } }) };
}

/** Another guest's volume, with a header of its own, under the name that ours had. */
async function makeTheirs({ volume, backend }: ShredWorld, passphrase: Secret) {
  makeImage(volume, 8 * 1024 * 1024);
  await backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
  return volume;
}

function innocent(volume: ShredWorld["volume"]) {
  const own = guestWith({ ...disk("vda"), volume, encryption_secret_uuid: newKeyUuid(), encrypted: true });
  return { ...own, id: "22222222-2222-4333-8444-555555555555", name: "web2", running: true, saved: false };
}
