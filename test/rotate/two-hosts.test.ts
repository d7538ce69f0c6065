import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { Key, Keystore } from "../../src/keystore/keystore.js";
import { Secret } from "../../src/secret/secret.js";
import { Killed, Life, RotationWorld } from "./rotation-world.js";

/** Two hosts have no lock in common: what one does between two steps of the other is called from within these. */
let world: RotationWorld;
let first: Secret;

beforeEach(async () => {
  world = await new RotationWorld("raw").format();
  first = (await world.key()).passphrase;
});
afterEach(() => {
  first.dispose();
  world[Symbol.dispose]();
});

/** A life on this host, but for what is given. */
function withKeystore(change: (real: Keystore) => Partial<Keystore>): Life {
  const life = new Life();
  const plain = life.keystore.bind(life);
  life.keystore = (real) => ({ ...plain(real), ...change(real) });
  return life;
}

/** Whoever is cut off here can do nothing more to the keystore. */
function cutOffAfter(real: Keystore, work: (key: Key, expected?: KeyRecord) => Promise<void>): Keystore {
  const dead = () => Promise.reject(new Killed());
  const mine: Keystore = {
    ...new Life().keystore(real),
    replace: async (key, expected) => {
      try {
        await work(key, expected);
      } finally {
        mine.fetch = mine.change = mine.find = dead;
      }
      throw new Killed();
    },
  };
  return mine;
}

const code = (thrown: unknown) => (thrown instanceof LuksmithError ? thrown.code : String(thrown));

async function noteOf(host: string, minutes: number): Promise<void> {
  const startedAt = new Date(world.now().getTime() - minutes * 60_000).toISOString();
  const rotation = { startedAt, keyslot: 1, id: "0123456789abcdef", host };
  await world.keystore.change(world.uuid, (record) => ({ ...record, rotation }));
}

describe("the rotation of another host", () => {
  it("is left alone while it may be under way, and taken over when it is old", async () => {
    await noteOf("elsewhere", 2);
    const header = await world.header();
    await expect(world.rotate()).rejects.toMatchObject({
      code: "ROTATION_REFUSED",
      message: expect.stringContaining("elsewhere") as string,
    });
    expect((await world.header()).equals(header)).toBe(true);
    await noteOf("elsewhere", 11);
    expect(await world.rotate()).toBe("rotated");
    expect([await world.opens(), await world.opensWith(first)]).toEqual([true, false]);
  });

  it("that has replaced the passphrase is left alone as well: its guest may be starting", async () => {
    const refused = new LuksmithError("ROTATION_REFUSED", { what: "its guest is being started" });
    await expect(world.rotate(new Life(), () => Promise.reject(refused))).rejects.toBe(refused);
    await world.keystore.change(world.uuid, (record) => ({
      ...record,
      rotation: { ...record.rotation!, host: "elsewhere", id: "0123456789abcdef" },
    }));
    await expect(world.rotate()).rejects.toMatchObject({ code: "ROTATION_REFUSED" });
    expect(await world.used()).toHaveLength(2);
  });

  it("that lives although it was taken over replaces nothing, whatever comes after it", async () => {
    let ended: string | undefined;
    const life = new Life();
    life.keystore = (real) =>
      cutOffAfter(real, async (key, expected) => {
        ended = await world.rotate();
        await expect(real.replace(key, expected)).rejects.toMatchObject({ code: "KEY_CONFLICT" });
      });
    await expect(world.rotate(life)).rejects.toBeInstanceOf(Killed);
    expect(ended).toBe("rotated");
    expect(await world.opens()).toBe(true);
    expect((await world.record()).rotation).toBeUndefined();
  });

  it("taken over by one that dies over it, replaces nothing either", async () => {
    const dying = withKeystore(() => ({ find: () => Promise.reject(new Killed()) }));
    const life = new Life();
    life.keystore = (real) =>
      cutOffAfter(real, async (key, expected) => {
        await expect(world.rotate(dying)).rejects.toBeInstanceOf(Killed);
        await expect(real.replace(key, expected)).rejects.toMatchObject({ code: "KEY_CONFLICT" });
      });
    await expect(world.rotate(life)).rejects.toBeInstanceOf(Killed);
    expect([await world.opens(), await world.opensWith(first)]).toEqual([true, true]);
    expect(await world.used()).toEqual([0]);
  });

  it("that replaces the passphrase just when it is taken over wins, or loses, and nothing is lost", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    let reached = () => {};
    const takesOver = new Promise<void>((resolve) => (reached = resolve));
    const late = withKeystore((real) => ({
      change: async (...args) => {
        reached();
        await gate;
        return await real.change(...args);
      },
    }));
    const life = new Life();
    let other: Promise<string> | undefined;
    life.keystore = (real) =>
      cutOffAfter(real, async (key, expected) => {
        other = world.rotate(late).catch(code);
        await takesOver;
        await real.replace(key, expected);
        release();
        await other;
      });
    await expect(world.rotate(life)).rejects.toBeInstanceOf(Killed);
    expect(await other).toBe("ROTATION_REFUSED");
    expect([await world.opens(), (await world.record()).generation]).toEqual([true, 2]);
    expect((await world.record()).rotation).toBeDefined();
  });

  it("that is rotating at the same time is noticed before anything is written", async () => {
    const header = await world.header();
    const life = withKeystore((real) => ({
      store: async (key) => {
        await real.store(key);
        await noteOf("elsewhere", 0);
      },
    }));
    await expect(world.rotate(life)).rejects.toMatchObject({ code: "ROTATION_REFUSED" });
    expect((await world.header()).equals(header)).toBe(true);
    expect((await world.record()).rotation?.host).toBe("elsewhere");
  });
});

it("keeps what others write to the record between two steps", async () => {
  const life = withKeystore((real) => ({
    replace: async (key, expected) => {
      await real.change(world.uuid, (record) => ({ ...record, disk: "vdz" }));
      await real.replace(key, expected);
    },
  }));
  expect(await world.rotate(life)).toBe("rotated");
  expect(await world.record()).toMatchObject({ disk: "vdz", generation: 2 });
  expect([await world.opens(), await world.opensWith(first)]).toEqual([true, false]);
});

it("does not use a keyslot that has been given to recovery meanwhile", async () => {
  const life = withKeystore((real) => ({
    replace: async (key, expected) => {
      const entry = {
        keyslot: key.record.rotation!.keyslot,
        kind: "passphrase",
        createdAt: "2026-08-01",
      } as const;
      await real.change(world.uuid, (record) => ({ ...record, recovery: [entry] }));
      await real.replace(key, expected);
    },
  }));
  await expect(world.rotate(life)).rejects.toMatchObject({ code: "KEY_CONFLICT" });
  expect([await world.opens(), await world.opensWith(first)]).toEqual([true, true]);
});

it("destroys nothing when the key has another passphrase than the one that it has seen", async () => {
  const settled = async () => {
    await world.keystore.change(world.uuid, (record) => ({ ...record, rotation: undefined! }));
  };
  await expect(world.rotate(new Life(), settled)).rejects.toMatchObject({ code: "ROTATION_REFUSED" });
  expect([await world.opens(), await world.opensWith(first)]).toEqual([true, true]);
});

it("waits for a keystore that replaces the passphrase after nobody listens any more", async () => {
  const life = withKeystore((real) => ({
    replace: async (key, expected) => {
      const passphrase = key.passphrase.use((bytes) => Buffer.from(bytes));
      setTimeout(() => void real.replace({ ...key, passphrase: Secret.own(passphrase) }, expected), 300);
      await Promise.reject(new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "it did not answer in time" }));
    },
  }));
  life.patience = 5000;
  expect(await world.rotate(life)).toBe("rotated");
  expect([await world.opens(), await world.opensWith(first)]).toEqual([true, false]);
  expect(world.logger.warnings.at(-1)?.message).toContain("in spite of an error");
});
