import { setTimeout } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import type { KeyUuid } from "../../../src/keystore/key-uuid.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { collectKeys, disposeOf, type Selection } from "../../../src/keystore/transfer/collect.js";
import { restoreKeys, type RestoreResult } from "../../../src/keystore/transfer/restore.js";
import type { Target } from "../../../src/keystore/transfer/target.js";
import type { WantedGuest } from "../../../src/keystore/transfer/of-guest.js";
import { throwAwayRecord } from "../../../src/keystore/round-trip.js";
import { Secret } from "../../../src/secret/secret.js";
import { FakeFailingKeystore } from "../../fake/failing-keystore.js";
import { archivedRecord, sampleRecord, storeText } from "../sample-key.js";
import { type TwoKeystores, twoKeystores, whereIs } from "./two-keystores.js";

let world: TwoKeystores;

beforeEach(async () => {
  world = await twoKeystores();
});

type Wanted = Partial<Omit<Selection, "guests"> & { guests: (string | WantedGuest)[] }>;

async function collected(
  { a, b }: TwoKeystores,
  { guests = [], uuids = [] }: Wanted = {},
): Promise<string[]> {
  const wanted = guests.map((guest) => (typeof guest === "string" ? { called: guest } : guest));
  const keys = await collectKeys([a, b], { guests: wanted, uuids });
  const texts = keys.map(({ keystore, record, passphrase }) => {
    return `${record.guest.name} ${record.disk} ${record.state} ${passphrase.use(String)} ${keystore}`;
  });
  disposeOf(keys);
  return texts;
}

const of = (name: string, disk = "vda", id = `id of ${name}`) => sampleRecord({ guest: { id, name }, disk });

describe("collecting keys", () => {
  it("takes each key once, of two copies the active one, in the order of the guests", async () => {
    const [web, db, moved] = [of("web"), of("db"), of("web", "vdb")];
    await storeText(world.a, web, "w");
    await storeText(world.b, db, "d");
    await storeText(world.a, moved, "m");
    await storeText(world.b, { ...moved, state: "active" }, "m");
    await storeText(world.a, throwAwayRecord(), "of a test");
    expect(await collected(world)).toEqual([
      "db vda pending d b",
      "web vda pending w a",
      "web vdb active m b",
    ]);
  });

  it("takes those of guests, and those that are named", async () => {
    const records = [of("web"), of("db"), of("mail")];
    for (const record of records) await storeText(world.a, record, "x");
    const uuids = [keyUuidOf(records[2]!)];
    expect(await collected(world, { guests: ["id of web"] })).toEqual(["web vda pending x a"]);
    expect(await collected(world, { guests: ["db"], uuids })).toHaveLength(2);
    expect(await collected(world, { uuids })).toEqual(["mail vda pending x a"]);
  });

  it("takes all of a guest, by whatever name and id its keys were recorded", async () => {
    const [nameless, first, renamed] = [
      of("100", "a", "100"),
      of("web1", "b", "100"),
      of("other", "c", "100"),
    ];
    const [foreign, elsewhere] = [of("template", "d", "900"), of("mail", "e", "101")];
    for (const record of [nameless, first, renamed, foreign, elsewhere])
      await storeText(world.a, record, "x");
    const all = ["100 a pending x a", "other c pending x a", "web1 b pending x a"];
    for (const guest of ["100", "web1", "other"]) {
      expect(await collected(world, { guests: [guest] })).toEqual(all);
    }
    const known = { id: "100", uses: [keyUuidOf(first), keyUuidOf(foreign)] };
    expect(await collected(world, { guests: [{ called: "today", known }] })).toEqual([
      all[0],
      all[1],
      "template d pending x a",
      all[2],
    ]);
  });

  it("takes a guest's former passphrases with its keys, also of keys that were made for others", async () => {
    const [own, taken, others] = [of("web1", "a", "100"), of("template", "d", "900"), of("mail", "e", "101")];
    for (const record of [own, taken, others]) {
      await storeText(world.a, record, "x");
      await storeText(world.b, archivedRecord(record, 1), "former");
    }
    const known = { id: "100", uses: [keyUuidOf(taken)] };
    expect((await collected(world, { guests: [{ called: "web1", known }] })).sort()).toEqual([
      "template d archived former b",
      "template d pending x a",
      "web1 a archived former b",
      "web1 a pending x a",
    ]);
  });

  it("fails where a disk needs a key that nobody has, and where the name was another guest's", async () => {
    await storeText(world.a, of("web1", "a", "100"), "x");
    const wanted = (known: NonNullable<WantedGuest["known"]>) => ({ guests: [{ called: "web1", known }] });
    const lacking = { id: "100", uses: [newKeyUuid()] };
    await expect(collected(world, wanted(lacking))).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    await expect(collected(world, wanted({ id: "200", uses: [] }))).rejects.toMatchObject({
      code: "GUEST_NOT_FOUND",
      hint: expect.stringContaining("use its id: 100") as string,
    });
  });

  it.each<[what: string, code: string, selection: () => Wanted]>([
    ["a key that nobody has", "KEY_NOT_FOUND", () => ({ uuids: [newKeyUuid()] })],
    ["a guest without keys", "GUEST_NOT_FOUND", () => ({ guests: ["nobody"] })],
    ["two guests of one name", "GUEST_NOT_FOUND", () => ({ guests: ["twin"] })],
  ])("fails for %s", async (_, code, selection) => {
    await storeText(world.a, of("twin", "vda", "1"), "x");
    await storeText(world.b, of("twin", "vda", "2"), "x");
    await expect(collected(world, selection())).rejects.toMatchObject({ code });
  });

  /** Keystores of which the second one moves its key to the first one as soon as the first one was asked `asked` for it. */
  async function movedMeanwhile(asked: "find" | "fetch"): Promise<TwoKeystores> {
    const record = of("web");
    await storeText(world.b, record, "w");
    let isMoved = false;
    const move = async () => {
      if (isMoved) return;
      isMoved = true;
      await storeText(world.a, record, "w");
      await world.b.delete(keyUuidOf(record));
    };
    let done: () => void;
    const moved = new Promise<void>((resolve) => (done = resolve));
    const a = Object.assign(new FakeFailingKeystore(world.a), {
      [asked]: async (what: never) => {
        const answer = await world.a[asked](what);
        await move();
        done();
        return answer;
      },
    });
    const b = Object.assign(new FakeFailingKeystore(world.b), {
      [asked]: async (what: never) => {
        await moved;
        return await world.b[asked](what);
      },
    });
    return { ...world, a, b };
  }

  it.each(["find", "fetch"] as const)(
    "takes a key that is moved meanwhile, between two calls of %s",
    async (asked) => {
      expect(await collected(await movedMeanwhile(asked))).toEqual(["web vda pending w a"]);
    },
  );

  it("fails where keystores disagree, or one does not answer", async () => {
    const record = of("web");
    await storeText(world.a, record, "one");
    const silent = new FakeFailingKeystore(world.b, { call: 2, moment: "before" });
    await expect(collected({ ...world, b: silent })).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    await storeText(world.b, record, "two");
    await expect(collected(world)).rejects.toMatchObject({ code: "KEY_CONFLICT" });
  });
});

describe("restoring keys", () => {
  async function restore(
    texts: readonly (readonly [KeyRecord, string])[],
    manner: "apply" | "dry-run" = "apply",
    target: Target = { keystore: world.b, witness: world.witness },
  ): Promise<string[]> {
    const keys = texts.map(([record, text]) => ({ record, passphrase: Secret.own(Buffer.from(text)) }));
    const results = new Map<string, RestoreResult>();
    await restoreKeys(keys, target, world.keyLocks, manner, (result) =>
      results.set(result.record.uuid, result),
    );
    disposeOf(keys);
    return keys.map(({ record }) => {
      const result = results.get(record.uuid)!;
      return result.outcome === "failed" ? result.error.code : result.outcome;
    });
  }

  it("stores what is missing, leaves what is there, and fails for what differs", async () => {
    const [missing, present, active, differs, moved] = ["1", "2", "3", "4", "5"].map((name) => of(name));
    await storeText(world.b, present!, "p");
    await storeText(world.b, { ...active!, state: "active" }, "a");
    await storeText(world.b, differs!, "theirs");
    await storeText(world.b, moved!, "m");
    const file = [
      ...[[missing!, "x"] as const, [present!, "p"] as const, [active!, "a"] as const],
      ...[[differs!, "ours"] as const, [{ ...moved!, volume: "/elsewhere" }, "m"] as const],
    ];
    const expected = ["stored", "present", "present", "KEY_CONFLICT", "KEY_CONFLICT"];
    expect(await restore(file, "dry-run")).toEqual(expected);
    expect(await whereIs(missing!, world)).toEqual({});
    expect(await restore(file)).toEqual(expected);
    expect(await whereIs(missing!, world)).toEqual({ b: "x" });
    expect(await whereIs(differs!, world)).toEqual({ b: "theirs" });
    expect(await world.b.find({ state: "active" })).toHaveLength(1);
    expect(await restore(file)).toEqual(["present", ...expected.slice(1)]);
  });

  it("stores each key under its lock, and waits for whoever has it", async () => {
    const record = of("web");
    let ended: Promise<string[]> | undefined;
    await world.keyLocks.hold(keyUuidOf(record), async () => {
      ended = restore([[record, "x"]]);
      await setTimeout(500);
      expect(await whereIs(record, world)).toEqual({});
    });
    expect(await ended).toEqual(["stored"]);
  });

  it("does not take a key's passphrase of an earlier day for the present one, nor the other way round", async () => {
    const record = of("web");
    await storeText(world.b, { ...record, generation: 3 }, "third");
    for (const generation of [2, 4]) {
      const file = [[{ ...record, generation }, "another"]] as const;
      expect(await restore(file, "dry-run")).toEqual(["KEY_CONFLICT"]);
      expect(await restore(file)).toEqual(["KEY_CONFLICT"]);
    }
    expect(await whereIs(record, world)).toEqual({ b: "third" });
  });

  it("says that nothing was kept of what does not come back", async () => {
    const target = { keystore: world.b, witness: (await twoKeystores()).b };
    expect(await restore([[of("web"), "x"]], "apply", target)).toEqual(["KEYSTORE_ANSWER_INVALID"]);
  });

  it("gives up on a keystore that is down, and goes on the next time", async () => {
    const file = Array.from({ length: 40 }, (_, index) => [of(`web${index}`), `x${index}`] as const);
    const keystore = new FakeFailingKeystore(world.b, { call: 20, moment: "after" });
    const outcomes = await restore(file, "apply", { keystore, witness: world.witness });
    expect(outcomes).toContain("stored");
    expect(outcomes).toContain("KEYSTORE_UNAVAILABLE");
    expect(outcomes).toContain("not tried");
    expect(keystore.calls).toBeLessThan(40);
    expect(new Set(await restore(file))).toEqual(new Set(["stored", "present"]));
    const uuids: KeyUuid[] = file.map(([record]) => keyUuidOf(record));
    expect((await world.b.find({})).map(({ uuid }) => uuid).sort()).toEqual(uuids.sort());
  });
});
