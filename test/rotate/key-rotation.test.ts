import { afterEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { generationOf } from "../../src/keystore/replacement.js";
import { Secret } from "../../src/secret/secret.js";
import { FakeFailingKeystore } from "../fake/failing-keystore.js";
import type { ImageFormat } from "../storage/workshop.js";
import { Killed, Life, RotationWorld } from "./rotation-world.js";

/** Each instant is a rotation of its own, and another one that mends it. */
const LONG = { timeout: 300_000 };

const worlds: RotationWorld[] = [];

async function newWorld(format: ImageFormat = "raw"): Promise<RotationWorld> {
  const world = new RotationWorld(format);
  worlds.push(world);
  return await world.format();
}

afterEach(() => {
  for (const world of worlds.splice(0)) world[Symbol.dispose]();
});

describe.each<ImageFormat>(["raw", "qcow2"])("a rotation, on %s", (format) => {
  it("replaces the passphrase in keystore and header, and leaves the former one nowhere", async () => {
    const world = await newWorld(format);
    const before = await world.key();
    using former = before.passphrase;
    expect(await world.rotate()).toBe("rotated");
    const after = await world.key();
    using current = after.passphrase;
    expect(current.equals(former)).toBe(false);
    expect([await world.opensWith(current), await world.opensWith(former)]).toEqual([true, false]);
    expect(after.record).toEqual({
      ...before.record,
      generation: 2,
      rotatedAt: expect.any(String) as string,
    });
    expect(await world.used()).toHaveLength(1);
  });

  it(
    "can be killed at any instant: the keystore's passphrase opens the volume, and the next one ends it",
    LONG,
    async () => {
      const counting = new Life();
      await (await newWorld(format)).rotate(counting);
      expect(counting.instants).toBeGreaterThan(15);
      const ends: string[] = [];
      for (let end = 1; end <= counting.instants; end += format === "raw" ? 2 : 5) {
        const world = await newWorld(format);
        await rotateAndKill(world, end);
        expect(await world.opens(), `killed at instant ${end}`).toBe(true);
        ends.push(await world.rotate());
        expect(await world.opens(), `after instant ${end}`).toBe(true);
        expect(await world.used(), `after instant ${end}`).toHaveLength(1);
        expect(await world.formersThatOpen(), `after instant ${end}`).toBe(0);
        const { rotation, generation } = await world.record();
        expect([rotation, generation! >= 2], `after instant ${end}`).toEqual([undefined, true]);
        // of one that the keystore has seen, the passphrase is archived once
        expect((await world.keystore.find({ archivedOf: world.uuid })).length).toBe(generation! - 1);
        world[Symbol.dispose]();
      }
      expect(new Set(ends)).toEqual(new Set(["rotated", "finished"]));
    },
  );
});

it("a keystore that goes away at any call leaves a volume that its passphrase opens", LONG, async () => {
  const counting = await newWorld();
  const counted = new FakeFailingKeystore(counting.keystore);
  await counting.rotate(withKeystore(counted));
  for (const moment of ["before", "after"] as const) {
    for (let call = 1; call <= counted.calls; call++) {
      const world = await newWorld();
      const failing = new FakeFailingKeystore(world.keystore, { call, moment });
      const when = `${moment} call ${call}`;
      const ended = await world.rotate(withKeystore(failing)).catch(codeIn);
      expect(["KEYSTORE_UNAVAILABLE", "rotated"], when).toContain(ended);
      expect(await world.opens(), when).toBe(true);
      await world.rotate();
      expect([await world.opens(), await world.formersThatOpen()], when).toEqual([true, 0]);
      expect(await world.used(), when).toHaveLength(1);
      world[Symbol.dispose]();
    }
  }
});

it("undoes at once what it cannot finish: a volume that cannot be written", async () => {
  const world = await newWorld();
  const before = await world.header();
  const life = new Life();
  life.backend = (real) => ({
    readHeader: (volume) => real.readHeader(volume),
    changeHeader: () =>
      Promise.reject(new LuksmithError("VOLUME_WRITE_FAILED", { what: "there is no room" })),
  });
  await expect(world.rotate(life)).rejects.toMatchObject({ code: "VOLUME_WRITE_FAILED" });
  expect((await world.header()).equals(before)).toBe(true);
  expect((await world.record()).generation).toBeUndefined();
  expect(await world.opens()).toBe(true);
  expect(await world.rotate()).toBe("rotated");
});

it("changes nothing while no copy of the header can be kept", async () => {
  const world = await newWorld();
  const [header, record] = [await world.header(), await world.record()];
  const life = new Life();
  life.vault = () => ({
    keep: () => Promise.reject(new LuksmithError("HEADER_BACKUP_FAILED", { what: "there is no room" })),
  });
  await expect(world.rotate(life)).rejects.toMatchObject({ code: "HEADER_BACKUP_FAILED" });
  expect((await world.header()).equals(header)).toBe(true);
  expect(await world.record()).toEqual(record);
  expect(await world.keystore.list()).toHaveLength(1);
});

it("changes nothing while the audit is required and cannot be written", async () => {
  const world = await newWorld();
  const header = await world.header();
  world.audit.failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "there is no room" });
  await expect(world.rotate()).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect((await world.header()).equals(header)).toBe(true);
});

it("leaves keyslots for recovery alone", async () => {
  const world = await newWorld();
  using recovery = await world.addRecovery();
  for (let round = 0; round < 3; round++) expect(await world.rotate()).toBe("rotated");
  expect([await world.opens(), await world.opensWith(recovery)]).toEqual([true, true]);
  expect(await world.used()).toHaveLength(2);
  expect(generationOf(await world.record())).toBe(4);
});

it("refuses a header without a free keyslot, and changes nothing", async () => {
  const world = await newWorld();
  const { passphrase } = await world.key();
  using secret = passphrase;
  for (let count = 1; count < 8; count++) {
    using added = Secret.randomPassphrase();
    await world.change(
      async (header) =>
        (await world.keyslots.add(header, { passphrase: secret, added, strength: "machine" })).pieces,
    );
  }
  const header = await world.header();
  await expect(world.rotate()).rejects.toMatchObject({ code: "KEYSLOT_NOT_FREE" });
  expect((await world.header()).equals(header)).toBe(true);
  expect(await world.keystore.list()).toHaveLength(1);
});

it("takes no keyslot that its record says is for recovery, if there is no other one either", async () => {
  const world = await newWorld();
  const recovery = [1, 2, 3, 4, 5, 6, 7].map((keyslot) => ({
    ...{ keyslot, kind: "passphrase" as const, createdAt: "2026-08-01T12:00:00.000Z" },
  }));
  await world.keystore.change(world.uuid, (record) => ({ ...record, recovery }));
  const header = await world.header();
  await expect(world.rotate()).rejects.toMatchObject({ code: "KEYSLOT_NOT_FREE" });
  expect((await world.header()).equals(header)).toBe(true);
});

it("is in the audit log however it is cut short", async () => {
  const counting = new Life();
  await (await newWorld()).rotate(counting);
  for (const end of [counting.instants - 1, counting.instants - 3]) {
    const world = await newWorld();
    await rotateAndKill(world, end);
    await world.rotate();
    const rotations = world.audit.uses.filter(({ event }) => event === "rotate");
    expect(
      rotations.map(({ detail }) => detail),
      `killed at instant ${end}`,
    ).toContainEqual(expect.stringMatching(/^(rotated|finished)/));
    expect(rotations[0]?.detail).toBe("begins");
  }
});

it("keeps the header of before and the one of after", async () => {
  const world = await newWorld();
  const before = await world.header();
  await world.rotate();
  const after = await world.header();
  const kept = world.vault.backups(world.uuid).map((backup) => world.vault.read(backup));
  expect(kept.map((bytes) => [bytes.equals(after), bytes.equals(before)])).toEqual([
    [true, false],
    [false, true],
  ]);
});

it("records what it does with keys", async () => {
  const world = await newWorld();
  await world.rotate();
  expect(world.audit.uses.map(({ event, result, key, detail }) => [event, result, key, detail])).toEqual([
    ["archive", "done", world.uuid, "passphrase number 1"],
    ["rotate", "done", world.uuid, "begins"],
    ["rotate", "done", world.uuid, "rotated: keyslot 0 destroyed"],
  ]);
});

it("leaves both passphrases where a guest could still need the former one, until the next call", async () => {
  const world = await newWorld();
  const refused = new LuksmithError("ROTATION_REFUSED", { what: "its guest is being started" });
  await expect(world.rotate(new Life(), () => Promise.reject(refused))).rejects.toBe(refused);
  expect([await world.opens(), await world.formersThatOpen()]).toEqual([true, 1]);
  expect(await world.rotate()).toBe("finished");
  expect([await world.opens(), await world.formersThatOpen()]).toEqual([true, 0]);
  expect(generationOf(await world.record())).toBe(2);
});

it("does not go over a header that somebody else changes meanwhile", async () => {
  const world = await newWorld();
  using foreign = Secret.randomPassphrase();
  const life = new Life();
  const { vault } = world;
  life.vault = () => ({
    keep: async (kept) => {
      const backup = await vault.keep(kept);
      const { passphrase } = await world.key();
      using secret = passphrase;
      const request = { passphrase: secret, added: foreign, strength: "machine", keyslot: 5 } as const;
      if ((await world.used()).length === 1)
        await world.change(async (header) => (await world.keyslots.add(header, request)).pieces);
      return backup;
    },
  });
  await expect(world.rotate(life)).rejects.toMatchObject({ code: "ROTATION_REFUSED" });
  expect([await world.opens(), await world.opensWith(foreign)]).toEqual([true, true]);
  expect(await world.used()).toEqual([0, 5]);
});

describe("an old copy of a volume", () => {
  it("is brought to the current passphrase, however old it is", async () => {
    const world = await newWorld();
    const old = await world.header();
    await world.rotate();
    await world.rotate();
    await world.restore(old);
    expect(await world.opens()).toBe(false);
    expect(await world.rotate()).toBe("adopted");
    expect([await world.opens(), await world.formersThatOpen()]).toEqual([true, 0]);
    expect(await world.used()).toHaveLength(1);
    const record = await world.record();
    expect([generationOf(record), record.rotation]).toEqual([3, undefined]);
    expect(await world.rotate()).toBe("rotated");
  });

  it("can be killed at any instant", LONG, async () => {
    const restored = async () => {
      const world = await newWorld();
      const old = await world.header();
      await world.rotate();
      await world.restore(old);
      return world;
    };
    const counting = new Life();
    await (await restored()).rotate(counting);
    for (let end = 1; end <= counting.instants; end += 2) {
      const world = await restored();
      await rotateAndKill(world, end);
      expect((await world.opens()) || (await world.formersThatOpen()) === 1, `at ${end}`).toBe(true);
      expect(["adopted", "finished", "rotated"]).toContain(await world.rotate());
      expect([await world.opens(), await world.formersThatOpen()], `after ${end}`).toEqual([true, 0]);
      world[Symbol.dispose]();
    }
  });

  it("whose passphrase is not kept any more is refused, and left alone", async () => {
    const world = await newWorld();
    const old = await world.header();
    await world.rotate();
    for (const { uuid } of await world.keystore.find({ archivedOf: world.uuid }))
      await world.keystore.delete(uuid as typeof world.uuid);
    await world.restore(old);
    await expect(world.rotate()).rejects.toMatchObject({ code: "PASSPHRASE_REJECTED" });
    expect((await world.header()).equals(old)).toBe(true);
  });
});

function withKeystore(keystore: FakeFailingKeystore): Life {
  const life = new Life();
  life.keystore = () => keystore;
  return life;
}

function codeIn(thrown: unknown): string {
  if (thrown instanceof LuksmithError) return thrown.code;
  throw thrown;
}

/** Whoever is killed while the copy of the header is kept that comes last has done it all. */
async function rotateAndKill(world: RotationWorld, end: number): Promise<void> {
  const ended = await world.rotate(new Life(end)).catch((thrown: unknown) => {
    if (thrown instanceof Killed) return "killed";
    throw thrown;
  });
  if (ended !== "killed")
    expect(world.logger.warnings.at(-1)?.message).toContain("no copy of its new header");
}
