/** One thing that is measured; what it needs before and leaves after is not. Promises are awaited. */
export interface Action {
  readonly before?: () => unknown;
  readonly run: () => unknown;
  /** A failure with this message is somebody else's and passes: it is tried again, and only the success counts. */
  readonly transient?: RegExp;
  readonly after?: () => unknown;
}

/** What each round measured, milliseconds where nothing else is said, by the action's name. */
export type Samples<Name extends string, Sample = number> = Readonly<Record<Name, readonly Sample[]>>;

/** `rounds` rounds, or fewer when `seconds` are over, but no fewer than three. */
export interface Effort {
  readonly rounds: number;
  readonly seconds: number;
}

const LEAST_ROUNDS = 3;

/**
 * Measures every action once in each round, one after the other: what slows this machine down for a while slows down
 * both sides of a ratio.
 */
export async function interleave<Name extends string>(
  actions: Readonly<Record<Name, Action>>,
  effort: Effort,
): Promise<Samples<Name>>;
export async function interleave<Name extends string, Kind extends Action, Sample>(
  actions: Readonly<Record<Name, Kind>>,
  effort: Effort,
  measure: (action: Kind) => Sample | Promise<Sample>,
): Promise<Samples<Name, Sample>>;
export async function interleave(
  actions: Readonly<Record<string, Action>>,
  { rounds, seconds }: Effort,
  measure: (action: Action) => unknown = wallTime,
): Promise<Samples<string, unknown>> {
  const entries = Object.entries(actions);
  const samples = Object.fromEntries(entries.map(([name]) => [name, [] as unknown[]]));
  const deadline = performance.now() + seconds * 1000;
  for (let round = 0; round < rounds; round++) {
    if (round >= LEAST_ROUNDS && performance.now() > deadline) break;
    for (const [name, action] of entries) {
      await action.before?.();
      samples[name]?.push(await measure(action));
      await action.after?.();
    }
  }
  return samples;
}

async function wallTime({ run, transient }: Action): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const started = performance.now();
    try {
      await run();
      return performance.now() - started;
    } catch (thrown) {
      const passes = thrown instanceof Error && transient?.test(thrown.message) === true;
      if (!passes || attempt === 10) throw thrown;
    }
  }
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: quantile(sorted, 0.5), min: quantile(sorted, 0), max: quantile(sorted, 1) };
}

function quantile(sorted: readonly number[], fraction: number): number {
  const at = fraction * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return (low + high) / 2;
}

/** Round by round, never one round's time against another's. */
export function perRound(
  left: readonly number[],
  right: readonly number[],
  combine: (left: number, right: number) => number,
): number[] {
  return left.map((value, round) => combine(value, right[round] ?? NaN));
}
