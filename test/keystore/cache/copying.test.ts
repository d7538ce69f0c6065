import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { CommandRunner } from "../../../src/exec/command-runner.js";
import { Copying, type Wanted } from "../../../src/keystore/cache/copying.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import { treeOf } from "../../fs/tree.js";
import { activeRecord, CacheWorld, passphraseOf, settingsUnder } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";
const TANG = {
  type: "tang",
  servers: [{ url: "http://127.0.0.1:1", thumbprint: "_".repeat(43) }],
  threshold: 1,
};

/** A key, and a copying of it that goes on when it is told to; `copied` has what it saw then. */
function begun(copying: Copying, record = activeRecord()) {
  const passphrase = Secret.own(Buffer.from(passphraseOf(record)));
  const copied: (string | undefined)[] = [];
  let goOn = (): void => undefined;
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  let wanted: Wanted = () => undefined;
  copying.begin({ record, passphrase }, async (now) => {
    wanted = now;
    await gate;
    copied.push(now()?.passphrase.use(String));
  });
  return { record, passphrase, copied, goOn, wanted: () => wanted() };
}

describe("copying", () => {
  it("has a passphrase of its own, for the time that it takes", async () => {
    const copying = new Copying();
    const { record, passphrase, copied, goOn, wanted } = begun(copying);
    passphrase.dispose();
    const key = wanted()!;
    goOn();
    expect(await copying.settled(10_000)).toEqual([]);
    expect(copied).toEqual([passphraseOf(record)]);
    expect(() => key.passphrase.use(String)).toThrow(/disposed/);
  });

  it("is given up when it takes too long, with its passphrase wiped", async () => {
    const copying = new Copying();
    const { record, copied, goOn, wanted } = begun(copying);
    const key = wanted()!;
    expect(await copying.settled(50)).toEqual([keyUuidOf(record)]);
    expect(() => key.passphrase.use(String)).toThrow(/disposed/);
    goOn();
    await copying.settled();
    expect(copied).toEqual([undefined]);
  });

  it("is for the last of those who gave out a key, and for nobody once it was refused", async () => {
    const copying = new Copying();
    const first = begun(copying);
    const second = begun(copying, first.record);
    const other = begun(copying);
    copying.cancel(keyUuidOf(other.record));
    for (const { goOn } of [second, first, other]) goOn();
    expect(await copying.settled()).toEqual([]);
    expect([first.copied, second.copied, other.copied]).toEqual([
      [undefined],
      [passphraseOf(first.record)],
      [undefined],
    ]);
  });
});

describe("a start whose keystore answers", () => {
  it("may wipe the passphrase that it got at once", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    const keyring = world.keyring(record);
    const located = await keyring.locate(keyUuidOf(record));
    if (located.kind === "found") located.key.passphrase.dispose();
    await keyring.settled();
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
    expect(world.warnings).toEqual([]);
  });

  it("is not kept waiting by a protector that hangs, and says once that there is no copy", async () => {
    const world = new CacheWorld();
    world.settings = settingsUnder(TANG);
    const record = activeRecord();
    let fail = (): void => undefined;
    const hanging = new Promise<never>((_, reject) => {
      fail = () => reject(new LuksmithError("TOOL_TIMEOUT", { what: "clevis did not finish" }));
    });
    const runner: CommandRunner = { run: () => hanging, hold: () => hanging };
    const keyring = world.keyring(record, "copy", runner);
    const located = await Promise.race([keyring.locate(keyUuidOf(record)), setTimeout(5000)]);
    expect(located).toMatchObject({ kind: "found", keystore: { name: "vault1" } });

    const before = performance.now();
    await keyring.settled(100);
    expect(performance.now() - before).toBeLessThan(2000);
    fail();
    await keyring.settled();
    expect(world.warnings).toEqual([`no copy of key ${record.uuid} is kept: it took longer than 0.1 s`]);
    expect(Object.keys(treeOf(world.places[0]!.path))).toEqual(["records"]);
  });

  it("leaves no copy of a key that was refused while it was copied", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    const keyring = world.keyring(record);
    await keyring.locate(keyUuidOf(record));
    world.moods["vault1"] = "KEYSTORE_FORBIDDEN";
    await keyring.locate(keyUuidOf(record));
    await keyring.settled();
    expect(await world.copies()).toEqual([]);
  });
});
