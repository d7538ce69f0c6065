import type { ConvertOutput } from "../generated/convert.js";
import validate from "../generated/validate-convert.cjs";
import type { Guest } from "../host/host-adapter.js";
import { renderStep } from "../plan/render.js";
import type { Plan, Step } from "../plan/step.js";
import { volumeName } from "../storage/volume.js";
import { print, printJsonLine } from "./output.js";

/** What `luksmith protect` says of its plan. */
export interface ProtectVoice {
  /** Of the disks that need nothing, before anything is done. */
  readonly unchanged: (plan: Plan) => void;
  /** Of a step that was done, or would be. */
  readonly step: (step: Step) => void;
  /** When all is done. @param left what is left to happen, in words; empty for nothing */
  readonly finished: (plan: Plan, left: string) => void;
}

interface Options {
  readonly json?: true;
  readonly dryRun?: true;
}

/** @param disks device names of those that were asked for */
export function protectVoice(guest: Guest, disks: readonly string[], options: Options): ProtectVoice {
  return options.json ? forMachines(guest, disks, options) : forPeople(guest, disks, options);
}

function forPeople({ name }: Guest, disks: readonly string[], { dryRun }: Options): ProtectVoice {
  return {
    unchanged: (plan) => {
      if (plan.stages.length === 0) print(`${name}: ${disks.join(", ")} already protected`);
    },
    step: (step) => print(dryRun ? `would ${renderStep(step)}` : `done: ${renderStep(step)}`),
    finished: (_, left) => print(`${name}: ${disks.join(", ")} protected${left === "" ? "" : `; ${left}`}`),
  };
}

/** One JSON object a line, as those of a conversion. */
function forMachines(guest: Guest, disks: readonly string[], { dryRun }: Options): ProtectVoice {
  const say = ({ event, ...rest }: ConvertOutput) =>
    printJsonLine(validate, { event, guest: guest.name, ...rest } satisfies ConvertOutput);
  return {
    unchanged: (plan) => {
      const changed = disksIn(plan);
      for (const disk of disks)
        if (!changed.has(disk)) say({ event: "unchanged", disk, what: "already protected" });
    },
    step: (step) => {
      const [disk, ...more] = disksOf(step);
      const one = disk === undefined || more.length > 0 ? {} : { disk };
      say({ event: dryRun ? "would" : "done", ...one, what: renderStep(step) });
    },
    finished: (plan, left) => {
      const changed = disksIn(plan);
      for (const disk of disks)
        if (changed.has(disk))
          say({ event: "finished", disk, ...volumeOf(guest, disk), ...(left === "" ? {} : { what: left }) });
    },
  };
}

function disksIn({ stages }: Plan): ReadonlySet<string> {
  return new Set(stages.flat().flatMap(disksOf));
}

/** Those that a step of protect is about. */
function disksOf(step: Step): string[] {
  if ("record" in step) return [step.record.disk];
  return step.kind === "annotate" ? step.blocks.map(({ disk }) => disk) : [];
}

function volumeOf({ disks }: Guest, dev: string): { readonly volume?: string } {
  const disk = disks.mapping[dev];
  return disk === undefined ? {} : { volume: volumeName(disk.volume) };
}
