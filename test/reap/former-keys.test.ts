import { renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyUse } from "../../src/audit/audit-log.js";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { reapFormerKeys } from "../../src/reap/former-keys.js";
import { KeyUses } from "../../src/rotate/key-uses.js";
import { Secret } from "../../src/secret/secret.js";
import { StorageRegistry } from "../../src/storage/index.js";
import type { Volume } from "../../src/storage/volume.js";
import { FakeFailingKeystore } from "../fake/failing-keystore.js";
import { temporaryDirectory } from "../fs/tree.js";
import { fileKeystore } from "../keystore/file/file-keystore.fixture.js";
import { archivedRecord, storeText } from "../keystore/sample-key.js";
import { guestWith, HostWithGuests } from "../rotate/host-with-guests.js";
import { RotationWorld } from "../rotate/rotation-world.js";

/** Days after the first one was archived. */
const after = (days: number) => new Date(Date.parse("2026-09-01T12:00:00Z") + days * 86_400_000);

let world: RotationWorld;
let keystore: FileKeystore;
let record: KeyRecord;
let former: [KeyRecord, KeyRecord];
let audited: KeyUse[];
let host: HostWithGuests;

beforeEach(async () => {
  world = await new RotationWorld("raw").format();
  ({ keystore } = world);
  host = new HostWithGuests();
  using passphrase = Secret.randomPassphrase();
  const { record: made, passphrase: opening } = await world.key();
  using first = opening;
  // the first two passphrases open nothing any more, and the third one does
  for (const [generation, secret] of [[2, passphrase] as const, [3, first] as const])
    await keystore.replace({ record: { ...made, generation }, passphrase: secret });
  record = { ...made, generation: 3 };
  // on the first and on the second of September
  former = [archivedRecord(record, 1), archivedRecord(record, 2)];
  audited = [];
  for (const one of former) await storeText(keystore, one, `of ${one.uuid}`);
});
afterEach(() => {
  world[Symbol.dispose]();
});

interface World {
  readonly manner?: "apply" | "dry-run";
  readonly keyring?: Keyring;
  readonly held?: () => Promise<unknown>;
  readonly requireWritable?: () => void;
}

async function reap(days: number, { manner = "apply", keyring, held, requireWritable }: World = {}) {
  const reaped = await reapFormerKeys(manner, {
    keepFormer: 30,
    keyring: keyring ?? new Keyring([{ name: "local", make: () => Promise.resolve(keystore) }]),
    storage: new StorageRegistry([world.workshop.backend]),
    uses: () => KeyUses.of(host),
    locks: {
      hold: async (_, work) => {
        await held?.();
        return await work();
      },
    },
    keyLocks: new KeyLocks(world.workshop.runner, world.workshop.lockDirectory, 1),
    audit: {
      requireWritable: requireWritable ?? (() => undefined),
      record: (...uses) => {
        audited.push(...uses);
        return Promise.resolve();
      },
    },
    now: after(days),
  });
  return reaped.map(({ kind, name, outcome }) => [kind, name, outcome]);
}

/** A disk of a guest here that has the key. */
function diskOn(volume: Volume): DiskMapping {
  return {
    ...{ bus: "virtio", dev: "vda", type: "disk", encrypted: true, encryption_format: "luks" },
    ...{ encryption_secret_uuid: world.uuid, volume, readOnly: false },
  };
}

async function kept(): Promise<string[]> {
  return (await keystore.list()).map(({ uuid }) => uuid).sort();
}

describe("former passphrases", () => {
  it("are deleted when they were kept as long as the settings say, and not before", async () => {
    const [first, second] = former;
    expect(await reap(29.9)).toEqual([]);
    expect(await reap(30)).toEqual([["former-key", first.uuid, "cleaned"]]);
    expect(await kept()).toEqual([record.uuid, second.uuid].sort());
    expect(await reap(30)).toEqual([]);
    expect(await reap(31)).toEqual([["former-key", second.uuid, "cleaned"]]);
    expect(await kept()).toEqual([record.uuid]);
  });

  it("are in the audit log when they are gone", async () => {
    await reap(30);
    expect(audited).toEqual([
      {
        ...{ event: "delete", result: "done", key: former[0].uuid, keystore: "local" },
        ...{ guest: record.guest, disk: record.disk, volume: record.volume },
        detail: `former passphrase number 1 of key ${record.uuid}`,
      },
    ]);
  });

  it("stay if the audit that the settings require cannot be written", async () => {
    const requireWritable = () => {
      throw new LuksmithError("AUDIT_UNWRITABLE", { what: "the audit log cannot be written" });
    };
    expect(await reap(31, { requireWritable })).toEqual(
      former.map(({ uuid }) => ["former-key", uuid, "left"]),
    );
    expect(await kept()).toHaveLength(3);
  });

  it("are listed by a dry run, which deletes none", async () => {
    const found = await reap(99, { manner: "dry-run" });
    expect(found.sort()).toEqual(former.map(({ uuid }) => ["former-key", uuid, "found"]).sort());
    expect(await kept()).toHaveLength(3);
    expect(audited).toEqual([]);
  });

  it("stay while their key is rotated, also if that begins just before", async () => {
    const rotating = { ...record, rotation: { startedAt: record.createdAt, keyslot: 1, former: 0 } };
    expect(await reap(99, { held: () => keystore.update(rotating) })).toEqual([]);
    expect(await reap(99)).toEqual([]);
    expect(await kept()).toHaveLength(3);
    await keystore.change(keyUuidOf(record), () => record);
    expect(await reap(99)).toHaveLength(2);
  });

  it("stay if a rotation has counted their time anew", async () => {
    const [first] = former;
    const anew = { ...first, archived: { ...first.archived!, at: after(90).toISOString() } };
    expect(await reap(30, { held: () => keystore.update(anew) })).toEqual([]);
    expect(await kept()).toHaveLength(3);
  });

  it("stay if no keystore that the settings have has their key: another one may", async () => {
    await keystore.delete(world.uuid);
    expect(await reap(99)).toEqual([]);
    expect(await kept()).toHaveLength(2);
  });

  it("stay while the volume cannot be looked at", async () => {
    renameSync(world.volume.path, `${world.volume.path}.away`);
    expect(await reap(99)).toEqual([]);
    renameSync(`${world.volume.path}.away`, world.volume.path);
    expect(await reap(99)).toHaveLength(2);
  });

  it("go if a guest's disk opens, wherever its volume was moved to", async () => {
    const moved = { ...world.volume, path: `${world.volume.path}.moved` };
    renameSync(world.volume.path, moved.path);
    host.guests = [guestWith("web1", diskOn(moved))];
    expect(await reap(99)).toHaveLength(2);
  });

  it("stay while they may be the only passphrases that open a disk", async () => {
    using passphrase = Secret.randomPassphrase();
    await keystore.replace({ record: { ...record, generation: 4 }, passphrase });
    expect(await reap(99)).toEqual([]);
    expect(await kept()).toHaveLength(3);
  });

  it("stay while one of several disks does not open with the present one", async () => {
    const other = world.workshop.makeEmpty("other.img", 8 * 1024 * 1024);
    host.guests = [guestWith("web1", diskOn(world.volume)), guestWith("web2", diskOn(other))];
    expect(await reap(99)).toEqual([]);
    expect(await kept()).toHaveLength(3);
  });

  it("stay while somebody has the lock of their key, which is no failure of the timer's", async () => {
    const locks = new KeyLocks(world.workshop.runner, world.workshop.lockDirectory);
    await locks.hold(world.uuid, async () => {
      expect(await reap(99)).toEqual([]);
    });
    expect(await kept()).toHaveLength(3);
  });

  it("stay while a keystore that may have their key does not answer", async () => {
    const away = new FakeFailingKeystore(fileKeystore(join(temporaryDirectory(), "away")), {
      ...{ call: 1, moment: "before" },
    });
    await keystore.delete(world.uuid);
    const keyring = new Keyring([
      { name: "local", make: () => Promise.resolve(keystore) },
      { name: "away", make: () => Promise.resolve(away) },
    ]);
    expect(await reap(99, { keyring })).toEqual([]);
    expect(await kept()).toHaveLength(2);
  });
});
