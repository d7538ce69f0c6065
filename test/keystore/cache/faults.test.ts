import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { originOf } from "../../../src/keystore/cache/origin.js";
import { isInMemory } from "../../../src/fs/memory-file-system.js";
import { smallDisk } from "../../fs/small-disk.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { activeRecord, CacheWorld, passphraseOf, settingsUnder } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";

async function copied(cache: "memory" | "sealed" = "sealed") {
  const world = new CacheWorld({ cache });
  const [record, other] = [activeRecord(), activeRecord()];
  await world.outcome(record);
  await world.outcome(other);
  world.moods["vault1"] = AWAY;
  const { path } = world.places.find(({ medium }) => medium === cache)!;
  return { world, record, other, path, file: join(path, "records", `${record.uuid}.json`) };
}

/** Changes one member of the copy, which stays a valid file. */
function change(file: string, members: object): void {
  const copy = JSON.parse(readFileSync(file, "utf8")) as { key: { record: object } };
  writeFileSync(file, JSON.stringify({ ...copy, ...members }));
}

describe("a copy that is damaged", () => {
  it.each<[string, (file: string, other: string) => void]>([
    ["is cut off", (file) => writeFileSync(file, readFileSync(file).subarray(0, 99))],
    ["is empty", (file) => writeFileSync(file, "")],
    ["is another key's", (file, other) => writeFileSync(file, readFileSync(other))],
    ["has a younger date", (file) => change(file, { fetchedAt: "2026-03-01T12:00:00.000Z" })],
    ["has a higher uptime", (file) => change(file, { uptime: 2000 })],
    ["has another boot", (file) => change(file, { boot: "boot-2" })],
    ["has more than a limit", (file) => writeFileSync(file, Buffer.alloc(300_000, " "))],
    [
      "has another profile",
      (file) => writeFileSync(file, readFileSync(file, "utf8").replace('"disk":"vda"', '"disk":"vdb"')),
    ],
  ])("counts as none when it %s, and is removed with a warning", async (_, damage) => {
    const { world, record, other, file } = await copied();
    damage(file, join(file, "..", `${other.uuid}.json`));
    world.later(60);
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.warnings).toEqual([expect.stringContaining(`key ${record.uuid}`)]);
    expect(world.warnings).toEqual([expect.stringContaining("damaged")]);
    expect(await world.copies()).toEqual(["sealed usable"]);
    expect(await world.outcome(other)).toBe(`cache: ${passphraseOf(other)}`);
  });

  it("has another origin: the keystore that it names did not give out the key", async () => {
    const { world, record, file } = await copied();
    change(file, { keystore: "vault2" });
    world.moods["vault2"] = AWAY;
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.warnings).toEqual([expect.stringContaining("damaged")]);
  });

  it("has another origin: the keystore of that name was elsewhere when it gave out the key", async () => {
    const { world, record, file } = await copied();
    const moved = { name: "vault1", type: "vault", url: "https://new.example:8200" };
    world.settings = { ...world.settings, keystores: [moved] };
    change(file, { origin: originOf(moved) });
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.warnings).toEqual([expect.stringContaining("damaged")]);
  });

  it("is replaced when the keystore is there again", async () => {
    const { world, record, file } = await copied();
    writeFileSync(file, "{}");
    world.moods["vault1"] = "answers";
    await world.outcome(record);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
  });
});

describe("a master key of the cache", () => {
  it("that is lost takes the copies with it, and is made anew with the next one", async () => {
    const { world, record, other, path } = await copied();
    rmSync(join(path, "master-key.json"));
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.warnings).toHaveLength(1);
    world.moods["vault1"] = "answers";
    await world.outcome(record);
    expect(await world.copies()).toEqual(["sealed usable"]);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
    expect(await world.outcome(other)).toBe(AWAY);
  });

  it("that is damaged is a warning, with the copies kept", async () => {
    const { world, record, path } = await copied();
    const good = readFileSync(join(path, "master-key.json"));
    writeFileSync(join(path, "master-key.json"), "{}");
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.warnings).toEqual([expect.stringMatching(/master key .* cannot be used/)]);
    world.moods["vault1"] = "answers";
    expect(await world.outcome(activeRecord())).toMatch(/^vault1: /);
    writeFileSync(join(path, "master-key.json"), good);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
  });
});

describe("another protector", () => {
  const broken = {
    type: "pkcs11",
    module: "/nonexistent/token.so",
    token: "t",
    key: "k",
    pinFile: "/nonexistent/pin",
  };

  it("gets no copy that was under the one before, and a start goes on if it does not work", async () => {
    const { world, record, path } = await copied();
    world.moods["vault1"] = "answers";
    world.settings = settingsUnder(broken);
    expect(await world.outcome(record)).toBe(`vault1: ${passphraseOf(record)}`);
    expect(await world.copies()).toEqual([]);
    expect(treeOf(path)).toEqual({ records: "700" });
    expect(world.warnings).toEqual([
      expect.stringMatching(new RegExp(`no copy of key ${record.uuid} is kept: `)),
    ]);
    world.settings = settingsUnder({ type: "file" });
    await world.outcome(record);
    expect(await world.copies()).toEqual(["sealed usable"]);
  });
});

describe("a directory that is not safe", () => {
  it.each<[string, (path: string) => void]>([
    ["others can read", (path) => chmodSync(path, 0o755)],
    ["belongs to another user", (path) => chownSync(path, 65534, 65534)],
    ["has records that others can read", (path) => chmodSync(join(path, "records"), 0o750)],
  ])("is neither read nor written when it %s, which is a warning", async (_, spoil) => {
    const { world, record, path } = await copied();
    spoil(path);
    const before = treeOf(path);
    expect(await world.outcome(record)).toBe(AWAY);
    world.moods["vault1"] = "answers";
    const fresh = activeRecord();
    expect(await world.outcome(fresh)).toBe(`vault1: ${passphraseOf(fresh)}`);
    expect(treeOf(path)).toEqual(before);
    expect(world.warnings.length).toBeGreaterThan(0);
    for (const warning of world.warnings) expect(warning).toMatch(/ch(mod|own) /);
  });

  it("is not followed when it is a symbolic link", async () => {
    const world = new CacheWorld();
    const elsewhere = temporaryDirectory();
    chmodSync(elsewhere, 0o700);
    symlinkSync(elsewhere, world.places[0]!.path);
    await world.outcome(activeRecord());
    expect(treeOf(elsewhere)).toEqual({});
    expect(world.warnings.join()).toMatch(/is not a directory/);
  });
});

describe("memory that is none", () => {
  it("is not used: no copy is made on a disk instead", async () => {
    const world = new CacheWorld({ cache: "memory" });
    const disk = temporaryDirectory("/var/tmp");
    expect(isInMemory(disk)).toBe(false);
    world.places[1] = { medium: "memory", path: join(disk, "cache"), base: disk };
    expect(await world.outcome(activeRecord())).toMatch(/^vault1: /);
    expect(treeOf(disk)).toEqual({});
    expect(treeOf(world.root)).toEqual({});
    expect(world.warnings).toEqual([expect.stringMatching(/no copy of key .* is kept: .* no tmpfs/)]);
  });

  it("is not read: what is on a disk was not left there by luksmith", async () => {
    const { world, record, path } = await copied("memory");
    const disk = temporaryDirectory("/var/tmp");
    const moved = join(disk, "cache");
    mkdirSync(join(moved, "records"), { recursive: true, mode: 0o700 });
    for (const name of ["master-key.json", `records/${record.uuid}.json`])
      writeFileSync(join(moved, name), readFileSync(join(path, name)), { mode: 0o600 });
    world.places[1] = { medium: "memory", path: moved, base: "/dev/shm" };
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.warnings).toContainEqual(expect.stringMatching(/is not in memory/));
  });
});

describe("a disk that is full", () => {
  it.each(["bytes", "inodes"] as const)(
    "(no %s) is a warning, and what is there can be used",
    async (what) => {
      const disk = smallDisk();
      const world = new CacheWorld({ root: disk.path });
      const record = activeRecord();
      await world.outcome(record);
      disk.fill(what);
      const fresh = activeRecord();
      expect(await world.outcome(fresh)).toBe(`vault1: ${passphraseOf(fresh)}`);
      expect(world.warnings).toContainEqual(expect.stringMatching(/no copy of key .* no space left/));
      world.moods["vault1"] = AWAY;
      expect(await world.outcome(fresh)).toBe(AWAY);
      expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
      disk.free();
      world.moods["vault1"] = "answers";
      await world.outcome(fresh);
      expect(await world.copies()).toEqual(["sealed usable", "sealed usable"]);
    },
  );

  it("can be read-only as well", async () => {
    const disk = smallDisk();
    const world = new CacheWorld({ root: disk.path });
    const record = activeRecord();
    await world.outcome(record);
    disk.remount("ro");
    expect(await world.outcome(activeRecord())).toMatch(/^vault1: /);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
    // what cannot be removed must not be used for that
    world.hoursLater(24);
    expect(await world.outcome(record)).toBe(AWAY);
    world.moods["vault1"] = "KEYSTORE_FORBIDDEN";
    expect(await world.outcome(record)).toBe("KEYSTORE_FORBIDDEN");
  });
});
