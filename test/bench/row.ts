import { perRound, type Spread, spread } from "./compare.js";

/** One measured ratio: how many times `baseline` the `subject` takes. */
export interface Row {
  readonly subject: string;
  readonly baseline: string;
  /** The ratio to keep. */
  readonly target?: number;
  /** Of the times from start to end, over the rounds, each with the ratio of its own two times. */
  readonly ratio: Spread;
  readonly rounds: number;
  /**
   * The same of processor time, all processes together, where it was measured: what runs side by side counts in full,
   * and what other programs of this machine do hardly counts.
   */
  readonly processorRatio?: Spread;
  /** Medians on this machine, to give the ratio a scale. */
  readonly milliseconds: { readonly subject: number; readonly baseline: number };
}

export interface Side {
  readonly name: string;
  readonly milliseconds: readonly number[];
  readonly processorMilliseconds?: readonly number[];
}

export function row(subject: Side, baseline: Side, target?: number): Row {
  const { processorMilliseconds: processor } = subject;
  const { processorMilliseconds: processorBaseline } = baseline;
  return {
    subject: subject.name,
    baseline: baseline.name,
    ...(target === undefined ? {} : { target }),
    ratio: ratios(subject.milliseconds, baseline.milliseconds),
    rounds: subject.milliseconds.length,
    ...(processor && processorBaseline && { processorRatio: ratios(processor, processorBaseline) }),
    milliseconds: {
      subject: spread(subject.milliseconds).median,
      baseline: spread(baseline.milliseconds).median,
    },
  };
}

function ratios(subject: readonly number[], baseline: readonly number[]): Spread {
  return spread(perRound(subject, baseline, (a, b) => a / b));
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
