import { setTimeout } from "node:timers/promises";

/** Milliseconds before the second attempt; each further one waits twice as long. */
const FIRST_PAUSE = 100;
const ATTEMPTS = 3;

/**
 * The time that one operation on a keystore may take, however many requests and attempts it needs: a guest's start
 * waits for it, under the host manager's lock.
 */
export class Budget {
  readonly #end: number;
  /** Aborts when the time is over. */
  readonly signal: AbortSignal;

  constructor(milliseconds: number) {
    this.#end = performance.now() + milliseconds;
    this.signal = AbortSignal.timeout(milliseconds);
  }

  /** Milliseconds; 0 when the time is over. */
  get left(): number {
    return Math.max(0, this.#end - performance.now());
  }

  /** Waits, a while longer or shorter than `milliseconds`, so that those who wait for each other do not stay in step. */
  async pause(milliseconds: number): Promise<void> {
    await setTimeout(Math.min(milliseconds * (0.5 + Math.random()), this.left));
  }
}

/**
 * `attempt`'s result; tries up to three times what may be done twice with the effect of once. Nothing else is repeated:
 * when an answer is lost, nobody knows whether the server has done what it was asked.
 * @param mayHelp whether another attempt can end otherwise: a lost connection, a server that is starting
 * @throws what the last attempt threw
 */
export async function repeating<T>(
  budget: Budget,
  attempt: () => Promise<T>,
  mayHelp: (thrown: unknown) => boolean,
): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt();
    } catch (thrown) {
      const pause = FIRST_PAUSE * 2 ** (count - 1);
      if (count === ATTEMPTS || budget.left <= 2 * pause || !mayHelp(thrown)) throw thrown;
      await budget.pause(pause);
    }
  }
}
