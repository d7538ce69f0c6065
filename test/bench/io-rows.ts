import { type Effort, interleave } from "./compare.js";
import type { Job, Opening } from "./io-job.js";
import { type ProgramAction, programAction, silentTimes, type Times } from "./program.js";
import { type Row, row, type Side } from "./row.js";

/** `hidden`: the kernel does some of the work, for which its time is counted to no process. */
type ProcessorTime = "counted" | "hidden";

/**
 * Sends every job to every opening once in each round.
 * @returns the row that compares two openings by one job
 */
export async function measureJobs<Name extends string>(
  openings: Readonly<Record<Name, Opening>>,
  jobs: readonly Job[],
  effort: Effort,
  processorTime: ProcessorTime = "counted",
): Promise<(job: Job, subject: Name, baseline: Name) => Row> {
  const actions: Record<string, ProgramAction> = {};
  for (const job of jobs) {
    for (const [name, opening] of Object.entries<Opening>(openings)) {
      actions[title(job, name)] = programAction(job.program(opening));
    }
  }
  // the first time differs for whoever comes first
  await interleave(actions, { rounds: 1, seconds: 0 }, silentTimesOf);
  const samples = await interleave(actions, effort, silentTimesOf);
  const side = (name: string, times: readonly Times[]): Side => ({
    name,
    milliseconds: times.map(({ wall }) => wall),
    ...(processorTime === "counted" && { processorMilliseconds: times.map(({ processor }) => processor) }),
  });
  return (job, subject, baseline) =>
    row(
      side(title(job, subject), samples[title(job, subject)] ?? []),
      side(baseline, samples[title(job, baseline)] ?? []),
    );
}

function title({ name }: Job, opening: string): string {
  return `${name}: ${opening}`;
}

function silentTimesOf({ program }: ProgramAction) {
  return silentTimes(program());
}
