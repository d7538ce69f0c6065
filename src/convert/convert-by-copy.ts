import { resourcesOf } from "../plan/resources.js";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { protectCommand } from "../plan/commands.js";
import { KeySession } from "../plan/key-session.js";
import { planOf } from "../plan/step.js";
import { whileActive } from "../storage/lvm/lvm-in-use.js";
import { VolumeLocks } from "../storage/volume-lock.js";
import { CLOCK, COMMAND_RUNNER, GUEST_LOCKS } from "../tokens.js";
import { ConversionNotes } from "./conversion-notes.js";
import type { Conversion, ConversionTask } from "./conversion.js";
import { convertDisk, type ConvertPorts } from "./convert-disk.js";
import { stagesOf, tasksOf } from "./convert-tasks.js";
import { defaultTarget } from "./default-target.js";
import { gatherConvertFacts } from "./gather-convert.js";
import { type ConvertPlan, planConvert } from "./plan-convert.js";
import { sourceSize } from "./source-size.js";
import { cannotConvert } from "./source-volume.js";
import { requireTargetRoom } from "./target-room.js";

/**
 * Copies the disk of a guest that is shut off into a new volume, beside the old one where no target is said, and gives it
 * to the guest; the old volume stays as it was. @throws CONVERT_FAILED, GUEST_RUNNING, and what speaks against it
 */
export const convertByCopy: Conversion = (container, task) =>
  withPlan(container, task, async (plan, ports) => {
    if (task.manner === "apply") await convertDisk(plan, ports);
    else for (const one of tasksOf(plan)) task.watcher.done(`would ${one}`);
    return planOf(...stagesOf(plan));
  });

/**
 * For whoever has several disks to convert: throws all that speaks against this one, as `convertByCopy` would before it
 * changes anything, and changes nothing. That storage has room for each of them does not say that it has it for all.
 */
export async function requireConvertibleByCopy(container: Container, task: ConversionTask): Promise<void> {
  await withPlan(container, task, () => Promise.resolve());
}

/** Plans it, and does `work` while its volumes have devices. */
async function withPlan<T>(
  container: Container,
  task: ConversionTask,
  work: (plan: ConvertPlan, ports: ConvertPorts) => Promise<T>,
): Promise<T> {
  refuseMovedDisks(task);
  const { guest, disk, goal, watcher, rate } = task;
  const resources = resourcesOf(container);
  const runner = container.resolve(COMMAND_RUNNER);
  const notes = new ConversionNotes();
  using session = new KeySession();
  const target = task.target ?? { volume: defaultTarget(disk, goal.to), isNamed: false };
  const request = goal.to === "plain" ? undefined : goal.request;
  const choice = goal.to === "plain" ? "auto" : goal.engine;
  const question = { guest, disk, request, target, choice };
  const facts = await gatherConvertFacts(question, { ...resources, runner, notes }, session);
  const clock = container.resolve(CLOCK);
  const plan = planConvert(facts, { now: clock.now(), newUuid: newKeyUuid });
  const locks = new VolumeLocks(runner);
  const guestLocks = container.resolve(GUEST_LOCKS);
  const ports = { resources, session, runner, locks, guestLocks, notes, clock, watcher, rate };
  const { source, allocate } = plan;
  const there = allocate ? [source.volume] : [source.volume, plan.target.volume];
  return await whileActive(there, ports, async () => {
    await requireTargetRoom(plan, await sourceSize(source, resources.storage));
    return await work(plan, ports);
  });
}

/** @throws VOLUME_UNSUPPORTED where the host manager makes volumes itself */
function refuseMovedDisks({ guest, disk }: ConversionTask): void {
  if (guest.encryptedStorages === undefined) return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: cannotConvert({ guest, disk }),
    why: "its host manager makes its volumes itself",
    hint: protectCommand(guest, [disk.dev]),
  });
}
