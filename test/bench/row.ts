import { perRound, type Spread, spread } from "./compare.js";

/** What was measured: times, or bytes. */
export type Unit = "ms" | "bytes";

/** One measured ratio: how many times `baseline` the `subject` takes. */
export interface Row {
  readonly subject: string;
  readonly baseline: string;
  /** The ratio to keep. */
  readonly target?: number;
  /** Of the times from start to end, or of the bytes, over the rounds, each with the ratio of its own two. */
  readonly ratio: Spread;
  readonly rounds: number;
  /**
   * The same of processor time, all processes together, where it was measured: what runs side by side counts in full,
   * and what other programs of this machine do hardly counts.
   */
  readonly processorRatio?: Spread;
  /** Medians on this machine, to give the ratio a scale. */
  readonly scale: { readonly unit: Unit; readonly subject: number; readonly baseline: number };
}

export interface Side {
  readonly name: string;
  /** From start to end, for each round. */
  readonly milliseconds: readonly number[];
  readonly processorMilliseconds?: readonly number[];
}

export function row(subject: Side, baseline: Side, target?: number): Row {
  const { processorMilliseconds: processor } = subject;
  const { processorMilliseconds: processorBaseline } = baseline;
  return {
    ...rowOf("ms", [subject.name, subject.milliseconds], [baseline.name, baseline.milliseconds]),
    ...(target === undefined ? {} : { target }),
    ...(processor && processorBaseline && { processorRatio: ratios(processor, processorBaseline) }),
  };
}

/** A name, and what was measured in each round. */
type Measured = readonly [string, readonly number[]];

/** @param subject the bytes of each round */
export function byteRow(subject: Measured, baseline: Measured): Row {
  return rowOf("bytes", subject, baseline);
}

function rowOf(unit: Unit, [subject, values]: Measured, [baseline, baselineValues]: Measured): Row {
  return {
    subject,
    baseline,
    ratio: ratios(values, baselineValues),
    rounds: values.length,
    scale: { unit, subject: spread(values).median, baseline: spread(baselineValues).median },
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
