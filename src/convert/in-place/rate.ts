import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";

/** Waits so long that no more than `rate` bytes a second have passed since it was made; not at all without a rate. */
export function limiter(rate: bigint | undefined): (bytes: number) => Promise<void> {
  if (rate === undefined) return () => Promise.resolve();
  let due = performance.now();
  return async (bytes) => {
    due = Math.max(due, performance.now() - 1000) + (1000 * bytes) / Number(rate);
    const wait = due - performance.now();
    if (wait > 0) await setTimeout(wait);
  };
}
