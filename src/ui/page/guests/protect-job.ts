import type { ConvertOutput } from "../../../generated/convert.js";
import type { ProtectRequest } from "../../../generated/ui-request.js";

export type ProtectChoice = Pick<ProtectRequest, "guest" | "disks" | "profile" | "content">;

/** How far one disk is. */
export interface DiskProgress {
  /** Of a task that takes long, while it lasts. */
  readonly running?: Pick<ConvertOutput, "task" | "percent" | "bytesPerSecond" | "secondsLeft">;
  /** Steps in words, in their order: what was done, or in a dry run would be. */
  readonly steps: readonly string[];
  readonly end?: Pick<ConvertOutput, "event" | "what" | "volume" | "oldVolume">;
}

/** A `luksmith protect` that this page has started. */
export interface ProtectJob {
  readonly choice: ProtectChoice;
  readonly guestName: string;
  readonly state: "running" | "done" | "failed";
  /** By device; what is said of the guest as a whole has the empty name. */
  readonly disks: Readonly<Record<string, DiskProgress>>;
  readonly failure?: unknown;
}

export function newJob(choice: ProtectChoice, guestName: string): ProtectJob {
  return { choice, guestName, state: "running", disks: {} };
}

export function withEvent(job: ProtectJob, event: ConvertOutput): ProtectJob {
  const device = event.disk ?? "";
  const before = job.disks[device] ?? { steps: [] };
  return { ...job, disks: { ...job.disks, [device]: progressed(before, event) } };
}

function progressed({ running, ...rest }: DiskProgress, event: ConvertOutput): DiskProgress {
  switch (event.event) {
    case "progress":
      return { ...rest, running: event };
    case "done":
    case "would":
      return { ...rest, ...(running && { running }), steps: [...rest.steps, event.what ?? ""] };
    case "finished":
    case "unchanged":
      return { ...rest, end: event };
  }
}

export function withEnd(job: ProtectJob): ProtectJob {
  return { ...job, state: "done" };
}

export function withFailure(job: ProtectJob, failure: unknown): ProtectJob {
  return { ...job, state: "failed", failure };
}
