import type { Conversion, ConversionGoal, ConversionTask } from "../convert/conversion.js";
import type { Watcher } from "../convert/watcher.js";
import { defaultTarget } from "../convert/default-target.js";
import type { ConvertTarget } from "../convert/gather-convert.js";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { type Plan, planOf } from "../plan/step.js";
import { type ConversionOptions, volumeAt } from "./conversion-options.js";
import { DRY_WATCHER, jsonWatcher, WATCHER } from "./percent-progress.js";
import { tellConverted } from "./tell-converted.js";

/** A disk, and what is to become of it. */
export interface DiskGoal {
  readonly disk: DiskMapping;
  readonly goal: ConversionGoal;
}

/** One disk after the other: each of them is read and written as fast as storage can. */
export async function convertDisks(
  container: Container,
  guest: ConfiguredGuest,
  goals: readonly DiskGoal[],
  options: ConversionOptions,
): Promise<Plan> {
  if (options.inPlace && (options.to !== undefined || options.pool !== undefined)) {
    throw new LuksmithError("USAGE", {
      what: "--to and --pool are for a new volume, and --in-place makes none",
      hint: "leave --in-place out, or them",
    });
  }
  if (options.to !== undefined && goals.length > 1) {
    throw new LuksmithError("USAGE", {
      what: `--to names one volume, and guest ${guest.name} has ${goals.length} disks to convert`,
      hint: "say one of them with --disk",
    });
  }
  const manner = options.dryRun ? "dry-run" : "apply";
  const tasks = goals.map(({ disk, goal }): ConversionTask => {
    const target = targetOf({ disk, goal }, options);
    const rate = options.rate === undefined ? {} : { rate: options.rate };
    return { guest, disk, goal, target, manner, ...rate, watcher: watcherFor(guest, disk, options) };
  });
  requireDifferentTargets(tasks);
  const { convert, require } = await wayOf(guest, options);
  // if one of them cannot be converted, none is
  if (tasks.length > 1 && manner === "apply") for (const task of tasks) await require(container, task);
  const plans: Plan[] = [];
  for (const task of tasks) {
    plans.push(await convert(container, task));
    if (manner === "apply") await tellConverted(container, task, options);
  }
  return planOf(...plans.flatMap(({ stages }) => stages));
}

/** Two names without an ending may become one: `web1.img` and `web1.raw`. @throws USAGE */
function requireDifferentTargets(tasks: readonly ConversionTask[]): void {
  const seen = new Map<string, string>();
  for (const { guest, disk, target } of tasks) {
    if (target === undefined) continue;
    const { path } = target.volume;
    const other = seen.get(path);
    if (other !== undefined)
      throw new LuksmithError("USAGE", {
        what: `cannot convert disks ${other} and ${disk.dev} of guest ${guest.name} at once: both would become ${path}`,
        hint: "convert one after the other: --disk, and --to for one of them",
      });
    seen.set(path, disk.dev);
  }
}

/** How disks are converted, and what only looks whether one can be. */
interface Way {
  readonly convert: Conversion;
  readonly require: (container: Container, task: ConversionTask) => Promise<void>;
}

async function wayOf(guest: ConfiguredGuest, { inPlace }: ConversionOptions): Promise<Way> {
  if (inPlace) {
    const way = await import("../convert/in-place/convert-in-place.js");
    return { convert: way.convertInPlace, require: way.requireConvertibleInPlace };
  }
  if (guest.running) {
    const way = await import("../convert/online/convert-online.js");
    return { convert: way.convertOnline, require: way.requireConvertibleOnline };
  }
  const way = await import("../convert/convert-by-copy.js");
  return { convert: way.convertByCopy, require: way.requireConvertibleByCopy };
}

function targetOf(
  { disk, goal }: DiskGoal,
  { to, pool, inPlace }: ConversionOptions,
): ConvertTarget | undefined {
  if (inPlace) return undefined;
  const more = pool === undefined ? {} : { pool };
  if (to !== undefined) return { volume: volumeAt(to, disk.volume), isNamed: true, ...more };
  return { volume: defaultTarget(disk, goal.to), isNamed: false, ...more };
}

function watcherFor(
  { name: guest }: ConfiguredGuest,
  { dev: disk }: DiskMapping,
  { json, dryRun }: ConversionOptions,
): Watcher {
  if (json) return jsonWatcher({ guest, disk }, dryRun ? "dry-run" : "apply");
  return dryRun ? DRY_WATCHER : WATCHER;
}
