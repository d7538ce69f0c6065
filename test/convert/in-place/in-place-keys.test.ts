import { closeSync, copyFileSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { KeyUse } from "../../../src/audit/audit-log.js";
import { digestOf } from "../../../src/headers/backup-file.js";
import { Journal, type JournalEntry } from "../../../src/convert/in-place/journal.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { KeyLocks } from "../../../src/keystore/key-locks.js";
import { type KeyUuid, newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { VolumeFile } from "../../../src/storage/volume-file.js";
import { InPlaceWorld } from "./in-place-world.js";

const MIB = 1024 * 1024;

vi.setConfig({ testTimeout: 120_000 });

let world: InPlaceWorld;

beforeEach(() => {
  world = new InPlaceWorld(MIB);
});
afterEach(() => {
  vi.restoreAllMocks();
  world[Symbol.dispose]();
});

const eventsOf = () =>
  world.audit.uses.map(({ event, result, detail }) => [event, result, ...(detail ? [detail] : [])].join(" "));

async function uuidOfKey(): Promise<KeyUuid> {
  const [record] = await world.keystore.list();
  return record!.uuid as KeyUuid;
}

/** The storage fails at the first write. */
function failingWrites() {
  const failure = new LuksmithError("VOLUME_WRITE_FAILED", { what: "the disk is gone" });
  return vi.spyOn(VolumeFile.prototype, "write").mockRejectedValue(failure);
}

describe("the audit log", () => {
  it("has every use of the key, and the begin before any byte is changed", async () => {
    await world.convert("encrypted");
    expect(eventsOf()).toEqual([
      "store done",
      "convert done encryption in place begins",
      "format done",
      "convert done encrypted in place",
    ]);
    world.audit.uses.length = 0;
    await world.convert("plain");
    expect(eventsOf()).toEqual([
      "convert done decryption in place begins",
      "convert done decrypted in place",
    ]);
  });

  it("tells of one that was cut short, and that it went on", async () => {
    await world.convert("encrypted");
    world.audit.uses.length = 0;
    failingWrites();
    expect(await world.failure("plain")).toBe("VOLUME_WRITE_FAILED");
    vi.restoreAllMocks();
    await world.convert("plain");
    expect(eventsOf()).toEqual([
      "convert done decryption in place begins",
      "convert failed",
      "convert done decryption in place goes on",
      "convert done decrypted in place",
    ]);
  });

  it("tells that a key was deleted whose conversion was taken back", async () => {
    vi.spyOn(VolumeFile.prototype, "extend").mockRejectedValue(
      new LuksmithError("VOLUME_GROW_FAILED", { what: "no space left on device" }),
    );
    expect(await world.failure("encrypted")).toBe("VOLUME_GROW_FAILED");
    expect(eventsOf()).toEqual([
      "store done",
      "convert done encryption in place begins",
      "convert failed",
      "delete done",
    ]);
    expect(await world.keystore.list()).toEqual([]);
  });

  it("has the end before the key's record says that it has ended", async () => {
    await world.convert("encrypted");
    const failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "no room" });
    const real = world.audit.record.bind(world.audit);
    vi.spyOn(world.audit, "record").mockImplementation((...uses: readonly KeyUse[]) =>
      uses.some(({ detail }) => detail === "decrypted in place") ? Promise.reject(failure) : real(...uses),
    );
    expect(await world.failure("plain")).toBe("AUDIT_UNWRITABLE");
    expect(await world.keystore.list()).toMatchObject([{ conversion: { to: "plain" } }]);
    vi.restoreAllMocks();
    await world.convert("plain");
    expect(eventsOf().at(-1)).toBe("convert done decrypted in place");
    expect((await world.keystore.list())[0]).not.toHaveProperty("conversion");
  });
});

describe("the key's lock", () => {
  it("is waited for, and what the error says is which key it is about", async () => {
    await world.convert("encrypted");
    const before = world.bytes();
    const uuid = await uuidOfKey();
    const locks = new KeyLocks(world.runner, world.at("locks"), 1);
    await locks.hold(uuid, async () => {
      const thrown: unknown = await world.convert("plain").catch((error: unknown) => error);
      expect(thrown).toMatchObject({ code: "LOCK_TIMEOUT" });
      expect(String(thrown)).toContain(uuid);
    });
    expect(world.bytes().equals(before)).toBe(true);
    await world.convert("plain");
  });

  it("is held until all is done", async () => {
    await world.convert("encrypted");
    const uuid = await uuidOfKey();
    const locks = new KeyLocks(world.runner, world.at("locks"), 0);
    const seen: unknown[] = [];
    const real = world.keystore.change.bind(world.keystore);
    vi.spyOn(world.keystore, "change").mockImplementation(async (...args) => {
      seen.push(await locks.hold(uuid, () => Promise.resolve("free")).catch((error: unknown) => error));
      return await real(...args);
    });
    await world.convert("plain");
    expect(seen).toMatchObject(Array.from({ length: 4 }, () => ({ code: "LOCK_TIMEOUT" })));
  });
});

describe("a key that was made for another volume", () => {
  it("is refused while that is there: this one is a copy of it", async () => {
    await world.convert("encrypted");
    const original = world.at("original.raw");
    copyFileSync(world.path, original);
    await world.keystore.change(await uuidOfKey(), (record) => ({ ...record, volume: original }));
    const before = world.bytes();
    expect(await world.failure("plain")).toBe("CONVERT_FAILED");
    expect(world.bytes().equals(before)).toBe(true);
    expect(world.journals()).toEqual([]);
  });

  it("is refused while that is being converted, half of which looks like anything", async () => {
    await world.convert("encrypted");
    const original = world.at("original.raw");
    writeFileSync(original, Buffer.alloc(MIB, 7));
    const conversion = { to: "plain", startedAt: new Date().toISOString() } as const;
    await world.keystore.change(await uuidOfKey(), (record) => ({ ...record, volume: original, conversion }));
    const before = world.bytes();
    expect(await world.failure("plain")).toBe("CONVERT_FAILED");
    expect(world.bytes().equals(before)).toBe(true);
  });

  it("is this one's where that has become it, and its record says so from then on", async () => {
    await world.convert("encrypted");
    const uuid = await uuidOfKey();
    const [name, id] = ["db1", newKeyUuid()];
    const elsewhere = { volume: world.at("gone.raw"), disk: "vdz", guest: { id, name } };
    await world.keystore.change(uuid, (record) => ({ ...record, ...elsewhere }));
    await world.convert("plain");
    expect(world.bytes().equals(world.plain)).toBe(true);
    expect(await world.keystore.list()).toMatchObject([
      { volume: world.path, disk: "vda", guest: { name: "web1" } },
    ]);
  });

  it("is refused while it is rotated", async () => {
    await world.convert("encrypted");
    const rotation = { startedAt: new Date().toISOString(), keyslot: 1 };
    await world.keystore.change(await uuidOfKey(), (record) => ({ ...record, rotation }));
    const before = world.bytes();
    expect(await world.failure("plain")).toBe("CONVERT_FAILED");
    expect(world.bytes().equals(before)).toBe(true);
  });
});

describe("the host's note of the header", () => {
  const uuid = newKeyUuid();
  const header = Buffer.alloc(2 * MIB, 5);
  const entry: JournalEntry = {
    ...{ version: 1, uuid, to: "encrypted", payload: MIB, mark: MIB, size: MIB, disk: "vda" },
    ...{ guest: { id: uuid, name: "web1" }, volume: "/srv/web1.raw", startedAt: "" },
    headerDigest: digestOf(header),
  };

  it("is overwritten before it is forgotten", () => {
    const journal = new Journal(world.at("notes"));
    journal.write(entry, header);
    expect(journal.header(uuid)?.equals(header)).toBe(true);
    const path = world.at(`notes/${uuid}.header`);
    const fd = openSync(path, "r");
    journal.remove(uuid);
    const left = Buffer.alloc(header.length);
    readSync(fd, left, 0, left.length, 0);
    closeSync(fd);
    expect(left.includes(Buffer.alloc(16, 5))).toBe(false);
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
    expect(journal.read(uuid)).toBeUndefined();
  });

  it("is not taken for one when a power cut has left half of what overwrote it", () => {
    const journal = new Journal(world.at("notes"));
    journal.write(entry, header);
    const torn = Buffer.from(header).fill(6, MIB);
    writeFileSync(world.at(`notes/${uuid}.header`), torn);
    expect(journal.header(uuid)).toBeUndefined();
  });
});

it("says who still needs the key of what was decrypted, and how it is deleted", async () => {
  await world.convert("encrypted");
  await world.convert("plain");
  const uuid = await uuidOfKey();
  expect(world.said.at(-1)).toMatch(/backups and header copies of .* open with it/);
  expect(world.said.at(-1)).toContain(`luksmith keys delete ${uuid}`);
});
