import { resourcesOf } from "../../plan/resources.js";
import type { Container } from "../../di.js";
import type { DiskMapping } from "../../disk-info/disk-info.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { newKeyUuid } from "../../keystore/key-uuid.js";
import { KeySession } from "../../plan/key-session.js";
import { planOf } from "../../plan/step.js";
import { volumeName } from "../../storage/volume.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import { CLOCK, COMMAND_RUNNER, HOST } from "../../tokens.js";
import { ConversionNotes } from "../conversion-notes.js";
import type { Conversion, ConversionTask } from "../conversion.js";
import type { ConvertTarget } from "../gather-convert.js";
import { gatherOnlineFacts } from "./gather-online.js";
import { OnlineConversion, type OnlinePorts } from "./online-conversion.js";
import { cannotConvertOnline } from "./online-refusals.js";
import { requireRoom } from "./online-target.js";
import { onlineStages, onlineTasks } from "./online-tasks.js";
import { type OnlinePlan, planOnline } from "./plan-online.js";
import { unfinishedDisks } from "./unfinished.js";

/** The guest's QEMU copies the disk to a new volume while the guest writes, and goes on with that one. */
export const convertOnline: Conversion = async (container, task) => {
  const { guest, watcher, manner } = task;
  const mirror = await container.resolve(HOST).mirror?.();
  if (manner === "apply" && (await mirror?.wake(guest)) === "woken")
    watcher.done("let the guest run again, which an earlier call had paused");
  return await withPlan(container, task, async (plan, ports) => {
    if (manner === "dry-run") {
      for (const text of onlineTasks(plan)) watcher.done(`would ${text}`);
      return planOf();
    }
    await new VolumeLocks(ports.runner).hold(`conversion into ${volumeName(plan.mirror.volume)}`, () =>
      new OnlineConversion(plan, ports).run(),
    );
    return planOf(...onlineStages(plan));
  });
};

/**
 * For whoever has several disks to convert: throws all that speaks against this one, as `convertOnline` would before it
 * changes anything, and changes nothing.
 */
export async function requireConvertibleOnline(container: Container, task: ConversionTask): Promise<void> {
  await withPlan(container, task, () => Promise.resolve());
}

async function withPlan<T>(
  container: Container,
  { guest, disk, goal, target: asked, watcher, rate }: ConversionTask,
  work: (plan: OnlinePlan, ports: OnlinePorts) => Promise<T>,
): Promise<T> {
  const resources = resourcesOf(container);
  const mirror = await resources.host.mirror?.();
  if (mirror === undefined || asked === undefined) throw unsupported(guest.name, disk.dev);
  const runner = container.resolve(COMMAND_RUNNER);
  using session = new KeySession();
  const notes = new ConversionNotes();
  const unfinished = await unfinishedDisks(guest, goal.to, { ...resources, notes });
  const target = unfinished.has(disk.dev) ? ownTarget(disk) : asked;
  const sources = { ...resources, mirror, runner, notes };
  const facts = await gatherOnlineFacts({ guest, disk, goal, target }, sources, session);
  if (goal.to === "encrypted") resources.storage.requireFormatting(facts.backend, target.volume);
  const now = container.resolve(CLOCK).now();
  const plan = planOnline(facts, { dev: disk.dev, goal, now, newUuid: newKeyUuid });
  if (plan.from === "prepare") await requireRoom(plan);
  const limit = rate === undefined ? {} : { rate };
  return await work(plan, { mirror, resources, session, runner, notes, watcher, now, ...limit });
}

/** Of a disk that has its new volume: what is left of its conversion is done. */
function ownTarget({ dev, volume }: DiskMapping): ConvertTarget {
  const isPath = volume.kind === "file" || volume.kind === "block";
  if (!isPath || volume.format === "other") throw new Error(`nobody converts disk ${dev} into such a volume`);
  return { volume: { kind: volume.kind, path: volume.path, format: volume.format }, isNamed: true };
}

function unsupported(guest: string, dev: string): LuksmithError {
  return new LuksmithError("HOST_UNSUPPORTED", {
    what: cannotConvertOnline({ name: guest }, dev),
    why: "only libvirt gives a running guest another volume, and it must be a new one",
    hint: "shut the guest down, and run it again",
  });
}
