import { availableParallelism } from "node:os";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { Logger } from "../log/logger.js";
import type { Plan, Step } from "./step.js";

/** How a step is done, and undone when a later one fails. Implemented in perform.ts. */
export interface Performer {
  /** Does the step; resolves to how to undo it, or undefined where there is nothing that may be undone. */
  perform(step: Step): Promise<Undo | undefined>;
}

export type Undo = () => Promise<void>;

/** Told about each step when it is done: for a progress display. */
export type Progress = (step: Step) => void;

/**
 * Does the plan. When a step fails, the steps beside it are awaited, then everything that was done is undone, stage by
 * stage in reverse, the steps of a stage at once: an undo may wait for a keystore that does not answer. One that fails
 * is logged and the others go on. Throws the first step's error: it is what the user sees.
 */
export async function execute(
  plan: Plan,
  performer: Performer,
  logger: Logger,
  progress?: Progress,
): Promise<void> {
  const done: Undo[][] = [];
  for (const stage of plan.stages) {
    const undos: Undo[] = [];
    done.push(undos);
    const failures = await performStage(stage, performer, undos, progress);
    if (failures.length === 0) continue;
    for (const stageUndos of done.toReversed()) {
      await Promise.all(
        stageUndos.map((undo) =>
          undo().catch((thrown: unknown) =>
            logger.error("could not undo a step", { error: asLuksmithError(thrown) }),
          ),
        ),
      );
    }
    throw asLuksmithError(failures[0]?.thrown);
  }
}

interface Failure {
  readonly index: number;
  readonly thrown: unknown;
}

/** Runs the stage's steps side by side, as many as there are processors; resolves to the failures in plan order. */
async function performStage(
  stage: readonly Step[],
  performer: Performer,
  undos: Undo[],
  progress: Progress | undefined,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  const queue = stage.entries();
  const worker = async () => {
    for (const [index, step] of queue) {
      if (failures.length > 0) return;
      try {
        const undo = await performer.perform(step);
        if (undo !== undefined) undos.push(undo);
        progress?.(step);
      } catch (thrown) {
        failures.push({ index, thrown });
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return failures.sort((a, b) => a.index - b.index);
}
