import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSwtpm, type Swtpm } from "../../lab/swtpm.js";
import { tpm2 } from "../file/protectors.fixture.js";
import { activeRecord, CacheWorld, passphraseOf, settingsUnder } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";

describe("a cache that a TPM seals", () => {
  let swtpm: Swtpm;
  beforeAll(async () => {
    swtpm = await startSwtpm();
  });
  afterAll(() => swtpm[Symbol.asyncDispose]());

  function world(): CacheWorld {
    const made = new CacheWorld();
    made.settings = settingsUnder(tpm2(swtpm));
    return made;
  }

  it("gives out its copies over a restart, and has no key in clear", async () => {
    const host = world();
    const records = [activeRecord(), activeRecord()];
    for (const record of records) await host.outcome(record);
    host.moods["vault1"] = AWAY;
    await swtpm.restart();
    for (const record of records) expect(await host.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
    expect(readFileSync(join(host.places[0]!.path, "master-key.json"), "utf8")).toMatch(/"protector":"tpm2"/);
    expect(host.warnings).toEqual([]);
    expect(swtpm.leftovers()).toEqual([]);
  });

  it("gives out none on a host that was booted otherwise, and lets guests start with the keystore", async () => {
    const host = world();
    const record = activeRecord();
    await host.outcome(record);
    swtpm.extend(7);
    host.moods["vault1"] = AWAY;
    expect(await host.outcome(record)).toBe(AWAY);
    expect(host.warnings).toEqual([expect.stringContaining(`the copy of key ${record.uuid}`)]);
    host.moods["vault1"] = "answers";
    host.hoursLater(12);
    expect(await host.outcome(record)).toBe(`vault1: ${passphraseOf(record)}`);
    await swtpm.restart();
    host.moods["vault1"] = AWAY;
    expect(await host.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
  });
});
