import { perRound, type Spread, spread } from "./compare.js";

/** One measured ratio: how many times `baseline` the `subject` takes. */
export interface Row {
  readonly subject: string;
  readonly baseline: string;
  /** The ratio that issue and documentation promise at most. */
  readonly target?: number;
  /** Over the rounds, each with the ratio of its own two times. */
  readonly ratio: Spread;
  readonly rounds: number;
  /** Medians on this machine, to give the ratio a scale. */
  readonly milliseconds: { readonly subject: number; readonly baseline: number };
}

export interface Side {
  readonly name: string;
  readonly milliseconds: readonly number[];
}

export function row(subject: Side, baseline: Side, target?: number): Row {
  const divide = (a: number, b: number) => a / b;
  return {
    subject: subject.name,
    baseline: baseline.name,
    ...(target === undefined ? {} : { target }),
    ratio: spread(perRound(subject.milliseconds, baseline.milliseconds, divide)),
    rounds: subject.milliseconds.length,
    milliseconds: {
      subject: spread(subject.milliseconds).median,
      baseline: spread(baseline.milliseconds).median,
    },
  };
}

/** Largest resident set of a process, MiB. */
export interface Memory {
  readonly subject: string;
  readonly process: string;
  readonly peakMiB: number;
}

/** What one part of the bench found. */
export interface Findings {
  readonly rows: readonly Row[];
  readonly memory: readonly Memory[];
}
