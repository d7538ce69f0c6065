import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { type Entry, type SharedName, storeUnique } from "../../../src/keystore/remote/unique-store.js";

/** A name in memory. `wait` decides when each call takes place; `dies` makes a writer stop before its n-th call. */
class Name implements SharedName {
  readonly all = new Map<string, boolean>();
  finishedBy: string[] = [];

  constructor(private readonly ids: string[]) {}

  entries(): Promise<Entry[]> {
    return Promise.resolve([...this.all].map(([id, finished]) => ({ id, finished })));
  }
  begin(): Promise<string> {
    const id = this.ids.shift()!;
    this.all.set(id, false);
    return Promise.resolve(id);
  }
  finish(id: string): Promise<void> {
    if (!this.all.has(id)) return Promise.reject(new Error("gone"));
    this.all.set(id, true);
    this.finishedBy.push(id);
    return Promise.resolve();
  }
  remove(id: string): Promise<void> {
    this.all.delete(id);
    return Promise.resolve();
  }
}

function scheduled(name: Name, scheduler: fc.Scheduler): SharedName {
  const call = <T>(work: () => Promise<T>) => scheduler.schedule(Promise.resolve()).then(work);
  return {
    entries: () => call(() => name.entries()),
    begin: () => call(() => name.begin()),
    finish: (id) => call(() => name.finish(id)),
    remove: (id) => call(() => name.remove(id)),
  };
}

describe("storing under a name that a server does not keep unique", () => {
  it("has one winner, in whatever order the calls of several writers happen", async () => {
    const ids = fc.shuffledSubarray(["a", "b", "c", "d"], { minLength: 2 });
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), ids, async (scheduler, order) => {
        const name = new Name([...order]);
        const writers = order.map(() => storeUnique(scheduled(name, scheduler), new Budget(5000), 3000));
        const outcomes = await scheduler.waitFor(Promise.all(writers));
        expect(outcomes.filter((outcome) => outcome === "stored")).toHaveLength(1);
        expect([...name.all]).toEqual([[name.finishedBy[0], true]]);
      }),
      { numRuns: 60 },
    );
  });

  it("leaves a finished entry alone", async () => {
    const name = new Name(["b"]);
    name.all.set("a", true);
    expect(await storeUnique(name, new Budget(1000), 100)).toBe("taken");
    expect([...name.all]).toEqual([["a", true]]);
  });

  it("clears away what a killed writer has left, after its patience", async () => {
    const name = new Name(["b"]);
    name.all.set("a", false);
    const start = performance.now();
    expect(await storeUnique(name, new Budget(5000), 300)).toBe("stored");
    expect(performance.now() - start).toBeGreaterThan(300);
    expect([...name.all]).toEqual([["b", true]]);
  });

  it("does not outlive its budget, and leaves nothing of its own", async () => {
    const name = new Name(["a"]);
    const begin = name.begin.bind(name);
    name.begin = async () => {
      name.all.set("z", false);
      return begin();
    };
    await expect(storeUnique(name, new Budget(300), 60_000)).rejects.toThrow();
    expect([...name.all]).toEqual([["z", false]]);
  });

  it("fails if a slow writer's entry was cleared away meanwhile", async () => {
    const name = new Name(["a"]);
    const finish = name.finish.bind(name);
    name.finish = (id) => {
      name.all.delete(id);
      return finish(id);
    };
    await expect(storeUnique(name, new Budget(1000), 100)).rejects.toThrow("gone");
    expect(name.finishedBy).toEqual([]);
  });
});
