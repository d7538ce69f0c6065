import { inject, injectable } from "../di.js";
import type { LifecycleEvent } from "../host/host-adapter.js";
import { planProvide } from "../plan/plan-provide.js";
import { refuseMappedFiles } from "../plan/refuse-mapped-files.js";
import type { Plan } from "../plan/step.js";
import { CLOCK, PREPARATION } from "../tokens.js";
import type { Clock } from "./clock.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation, Planner } from "./guest-preparation.js";

/** On the target, before a guest's memory arrives: refuses while the source still runs, or provides the secrets. */
@injectable()
export class PreMigrateHandler implements EventHandler<"pre-migrate"> {
  constructor(
    @inject(CLOCK) private readonly clock: Clock,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
  ) {}

  plan({ guest }: LifecycleEvent<"pre-migrate">): Promise<Plan> {
    return this.preparation.plan(guest, this.#planner());
  }

  handle({ guest }: LifecycleEvent<"pre-migrate">): Promise<Plan> {
    return this.preparation.prepare(guest, this.#planner());
  }

  #planner(): Planner {
    const now = this.clock.now();
    return (guest, facts) => {
      const plan = planProvide(guest, facts, now);
      refuseMappedFiles(guest, plan);
      return plan;
    };
  }
}
