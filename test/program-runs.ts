import type { Parameters } from "fast-check";

const { LUKSMITH_TEST_SEED: SEED = "1", LUKSMITH_TEST_RUNS = "1" } = process.env;

/** How many times as often as usual a property is tried. */
export const TIMES = Number(LUKSMITH_TEST_RUNS);

/**
 * Of a property whose runs start programs. One seed, so that a check tells of a change and not of luck. A failure is
 * told as it was found, since the search for the smallest one takes longer than a test may.
 */
export function programRuns(numRuns: number): Pick<Parameters, "numRuns" | "seed" | "endOnFailure"> {
  return { numRuns: numRuns * TIMES, seed: Number(SEED), endOnFailure: true };
}
