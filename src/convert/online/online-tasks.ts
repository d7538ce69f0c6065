import { renderStep } from "../../plan/render.js";
import type { Step } from "../../plan/step.js";
import { volumeName } from "../../storage/volume.js";
import type { OnlinePlan } from "./plan-online.js";

/** The whole conversion for people, a line each, as `--dry-run` prints it. */
export function onlineTasks(plan: OnlinePlan): string[] {
  const { store, format, provide, activate } = plan.steps;
  const [path, { disk }] = [volumeName(plan.mirror.volume), plan];
  const rendered = (step: Step | undefined) => (step === undefined ? [] : [renderStep(step)]);
  const giving = [
    plan.from === "copy"
      ? `go on with the copy of disk ${disk} to ${path}, which the guest's QEMU makes`
      : `let the guest's QEMU copy disk ${disk} to ${path}, and write to both`,
    `pause the guest for a moment, and give it ${path}`,
  ];
  return [
    ...rendered(store),
    ...(plan.allocate ? [`make ${path}`] : []),
    ...rendered(format),
    ...rendered(provide),
    ...(plan.from === "given" ? [] : giving),
    ...rendered(activate),
  ];
}

/** What the log keeps of it. */
export function onlineStages({ disk, record, mirror, oldUuid, steps }: OnlinePlan): (readonly Step[])[] {
  const { store, format, provide, activate } = steps;
  const given: Step[] =
    record === undefined || mirror.secretUuid === undefined
      ? []
      : [{ kind: "annotate", blocks: [{ disk, uuid: mirror.secretUuid }] }];
  const withdrawn: Step[] =
    oldUuid === undefined ? [] : [{ kind: "withdraw-secrets", secrets: [{ disk, uuid: oldUuid }] }];
  const one = (step: Step | undefined) => (step === undefined ? [] : [step]);
  return [one(store), one(format), one(provide), given, one(activate), withdrawn];
}
