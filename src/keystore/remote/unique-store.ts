import type { Budget } from "./budget.js";

/** What stands under one name in a keystore that does not mind several. */
export interface Entry {
  /** The server's own id of it. */
  readonly id: string;
  /** False until `finish`: nobody may use what is not finished. */
  readonly finished: boolean;
}

/** One name in a keystore whose server lets several things have the same name. */
export interface SharedName {
  /** Everything under the name. What was begun before this was called, and was not removed, is in it. */
  entries(): Promise<readonly Entry[]>;
  /** @returns the id of a new entry, not finished */
  begin(): Promise<string>;
  /** @throws if the entry is there no more */
  finish(id: string): Promise<void>;
  /** Idempotent. */
  remove(id: string): Promise<void>;
}

/** Milliseconds. */
const PAUSE = 100;

/**
 * Puts one entry under a name that others may want at the same moment, so that of all who try exactly one finishes:
 * whoever has begun looks around, and finishes only when alone. Of several who see each other the one with the smallest
 * id waits for the others to give way.
 *
 * An entry of a writer that was killed is not finished by anybody: it is removed after `patience`, in which a living
 * writer would have finished. If that one was only slow, `finish` finds its entry gone and fails, and there is still
 * one winner.
 *
 * @param patience milliseconds that any writer takes at most
 * @returns `taken` if the name has, or gets, a finished entry of somebody else; ours is then gone
 */
export async function storeUnique(
  name: SharedName,
  budget: Budget,
  patience: number,
): Promise<"stored" | "taken"> {
  if ((await settle(name, budget, patience)) === "taken") return "taken";
  const mine = await name.begin();
  try {
    if ((await winAlone(name, mine, budget)) === "taken") {
      await name.remove(mine);
      return "taken";
    }
  } catch (thrown) {
    // not finished, so that nobody has used it; if this fails as well, the next writer clears it away
    await name.remove(mine).catch(() => undefined);
    throw thrown;
  }
  await name.finish(mine);
  return "stored";
}

/** Waits until the name is free or taken for good. */
async function settle(name: SharedName, budget: Budget, patience: number): Promise<"free" | "taken"> {
  const since = new Map<string, number>();
  for (;;) {
    const entries = await name.entries();
    if (entries.some(({ finished }) => finished)) return "taken";
    if (entries.length === 0) return "free";
    const now = performance.now();
    for (const { id } of entries) {
      const first = since.get(id) ?? now;
      since.set(id, first);
      if (now - first > patience) await name.remove(id);
    }
    budget.signal.throwIfAborted();
    await budget.pause(PAUSE);
  }
}

async function winAlone(name: SharedName, mine: string, budget: Budget): Promise<"alone" | "taken"> {
  for (;;) {
    const others = (await name.entries()).filter(({ id }) => id !== mine);
    if (others.length === 0) return "alone";
    // one who is not alone gives way to the smaller id, which then is alone
    if (others.some(({ id, finished }) => finished || id < mine)) return "taken";
    budget.signal.throwIfAborted();
    await budget.pause(PAUSE);
  }
}
