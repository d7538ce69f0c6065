import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { systemInstant } from "../../../src/keystore/cache/instant.js";
import { bundle, type Call, type Outcome, trace } from "../../fs/strace.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { activeRecord, CacheWorld, passphraseOf } from "./cache-world.js";

const EARLIER = activeRecord();
const SUBJECT = activeRecord();
const AWAY = "KEYSTORE_UNAVAILABLE";

describe.each([
  { name: "the first copy", before: [] },
  { name: "a copy that is written anew", before: [EARLIER, SUBJECT] },
])("the cache: $name", ({ before }) => {
  let directory: string;
  let driver: string;
  let runs: number;

  beforeEach(async () => {
    directory = temporaryDirectory();
    driver = await bundle(new URL("driver.ts", import.meta.url).pathname, directory);
    mkdirSync(join(directory, "0"));
    for (const record of before) await world(0).outcome(record);
    runs = 0;
  });

  it("is whole or absent, whatever call it is killed at", async () => {
    const { calls } = await run();
    expect(calls.length).toBeGreaterThan(5);
    for (const [index, call] of calls.entries()) {
      const when = `killed at ${call.name} ${call.n}`;
      const { signal, calls: made } = await run({ ...call, effect: "signal=KILL" });
      expect(signal, when).toBe("SIGKILL");
      expect(made).toEqual(calls.slice(0, index + 1));
      await expectWholeOrAbsent(when);
    }
  });

  it("is whole or absent, whatever call fails, which is a warning and no more", async () => {
    const { calls } = await run();
    for (const call of calls) {
      const { printed } = await run({ ...call, effect: "error=EIO" });
      const when = `after an error of ${call.name} ${call.n}: ${printed}`;
      expect(printed, when).not.toMatch(/^threw|internal|did not foresee/i);
      expect(printed, when).toMatch(/^(done|(no copy of key|the cache of keys cannot be tidied).*)$/m);
      await expectWholeOrAbsent(when);
    }
  });

  /** The copy of a fresh cache. */
  async function run(fault?: Call & { readonly effect: string }): Promise<Outcome> {
    runs += 1;
    const watched = join(directory, String(runs));
    cpSync(join(directory, "0"), watched, { recursive: true });
    return trace([driver, join(watched, "sealed"), SUBJECT.uuid, passphraseOf(SUBJECT)], {
      ...{ watched, log: join(directory, "log") },
      ...(fault === undefined ? {} : { fault }),
    });
  }

  /** Nothing is lost but the copy that was being made, and what follows leaves nothing but copies. */
  async function expectWholeOrAbsent(when: string): Promise<void> {
    const host = world(runs);
    host.moods["vault1"] = AWAY;
    for (const record of before) {
      if (record !== SUBJECT) expect(await host.outcome(record), when).toBe(`cache: ${passphraseOf(record)}`);
    }
    expect([AWAY, `cache: ${passphraseOf(SUBJECT)}`], when).toContain(await host.outcome(SUBJECT));
    expect(host.warnings, when).toEqual([]);
    host.moods["vault1"] = "answers";
    const next = activeRecord();
    await host.outcome(next);
    const records = Object.keys(treeOf(host.places[0]!.path)).filter(
      (name) => !/^(master-key.json|records|swept)$/.test(name),
    );
    const known = [...before, SUBJECT, next].map(({ uuid }) => `records/${uuid}.json`);
    expect(known, when).toEqual(expect.arrayContaining(records));
    expect(records, when).toContain(`records/${next.uuid}.json`);
    expect(host.warnings, when).toEqual([]);
  }

  function world(run: number): CacheWorld {
    const host = new CacheWorld({ root: join(directory, String(run)) });
    host.now = systemInstant();
    return host;
  }
});

describe("the cache: processes at once", () => {
  it("go on with one master key when they make it at the same time", async () => {
    const directory = temporaryDirectory();
    const driver = await bundle(new URL("driver.ts", import.meta.url).pathname, directory);
    const records = [activeRecord(), activeRecord(), activeRecord()];
    const outcomes = await Promise.all(
      records.map((record, index) =>
        trace([driver, join(directory, "sealed"), record.uuid, passphraseOf(record)], {
          watched: directory,
          log: join(directory, `log${index}`),
          // so that each has a master key of its own ready before any of them has named it
          fault: { name: "link", n: 1, effect: "delay_enter=400000" },
        }),
      ),
    );
    expect(outcomes.map(({ printed }) => printed)).toEqual(["done", "done", "done"]);
    const host = new CacheWorld({ root: directory });
    host.now = systemInstant();
    host.moods["vault1"] = AWAY;
    for (const record of records) expect(await host.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
  });
});
