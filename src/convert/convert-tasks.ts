import { isMappingAnnotation } from "../host/host-adapter.js";
import { renderStep } from "../plan/render.js";
import type { AnnotatedKey, Step } from "../plan/step.js";
import type { ConvertPlan, TargetKey } from "./plan-convert.js";

/** The whole conversion for people, a line each, as `--dry-run` prints it. */
export function tasksOf({
  allocate,
  copy,
  disk,
  source,
  target,
  steps,
  backend,
  key,
}: ConvertPlan): string[] {
  const { path } = target.volume;
  const rendered = (step: Step | undefined) => (step === undefined ? [] : [renderStep(step)]);
  return [
    ...rendered(steps.store),
    ...(allocate
      ? [
          `make ${path} on storage ${backend.type}, as large as the disk${key === undefined ? "" : " and a LUKS header"}`,
        ]
      : []),
    ...rendered(steps.format),
    ...(copy === "again" ? [`copy ${source.volume.path} into it`] : []),
    `read both, to verify that every byte of ${path} is the same`,
    `let disk ${disk} in the guest's configuration be ${path}`,
    ...rendered(steps.activate),
  ];
}

/** What the log keeps of it. */
export function stagesOf({ disk, key, steps }: ConvertPlan): (readonly Step[])[] {
  const { store, format, activate } = steps;
  const annotate: Step = { kind: "annotate", blocks: key === undefined ? [] : [annotatedKey(disk, key)] };
  return [store, format, annotate, activate].map((step) => (step === undefined ? [] : [step]));
}

function annotatedKey(disk: string, { annotation }: TargetKey): AnnotatedKey {
  const { secretUuid: uuid } = annotation;
  if (!isMappingAnnotation(annotation)) return { disk, uuid };
  const { mapping: name, format, volume } = annotation;
  return { disk, uuid, mapping: { name, format, volume } };
}
