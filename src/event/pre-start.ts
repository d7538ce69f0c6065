import { inject, injectable } from "../di.js";
import type { LifecycleEvent } from "../host/host-adapter.js";
import { planPreStart } from "../plan/plan-pre-start.js";
import { planProvide } from "../plan/plan-provide.js";
import type { Plan } from "../plan/step.js";
import { CLOCK, PREPARATION } from "../tokens.js";
import type { Clock } from "./clock.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation, Planner } from "./guest-preparation.js";

/** Before a guest starts, is restored from saved memory, or is found running by a host manager that restarted. */
@injectable()
export class PreStartHandler implements EventHandler<"pre-start"> {
  constructor(
    @inject(CLOCK) private readonly clock: Clock,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
  ) {}

  plan({ cause, guest }: LifecycleEvent<"pre-start">): Promise<Plan> {
    if (cause === "reconnect") return this.preparation.planReconnect(guest);
    return this.preparation.plan(guest, this.#planner(cause));
  }

  handle({ cause, guest }: LifecycleEvent<"pre-start">): Promise<Plan> {
    if (cause === "reconnect") return this.preparation.reconnect(guest);
    return this.preparation.prepare(guest, this.#planner(cause));
  }

  #planner(cause: "start" | "restore"): Planner {
    const now = this.clock.now();
    switch (cause) {
      case "start":
        return (guest, facts) => planPreStart(guest, facts, now);
      case "restore":
        return (guest, facts) => planProvide(guest, facts, now);
    }
  }
}
