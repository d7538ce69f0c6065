import { setMaxListeners } from "node:events";
import type { Budget } from "../remote/budget.js";
import { connectionFailure, isConnectionFailure, type Place } from "../remote/failures.js";

/** Milliseconds: an attempt that had less left when it failed may have failed for want of time. */
const SCANT = 1000;

/** What one operation does within its time, and others wait for within theirs. */
export class SharedAttempt<T> {
  readonly #result: Promise<T>;
  readonly #budget: Budget;

  /** @param budget of the operation that makes it */
  constructor(result: Promise<T>, budget: Budget) {
    this.#result = result;
    this.#budget = budget;
  }

  /**
   * Waits for its end.
   * @returns also when it failed because of the time of its maker, which says nothing about who waits: he tries himself
   * @throws what it failed with otherwise; KEYSTORE_UNAVAILABLE when the time of who waits is over
   */
  async join(budget: Budget, place: Place): Promise<void> {
    try {
      await within(this.#result, budget);
    } catch (thrown) {
      const failure = connectionFailure(place, thrown);
      if (budget.signal.aborted || !isConnectionFailure(failure) || this.#budget.left > SCANT) throw failure;
    }
  }
}

function within<T>(result: Promise<T>, { signal }: Budget): Promise<T> {
  // many requests of one operation listen to one signal
  setMaxListeners(0, signal);
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    void result.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
