import { inject, injectable } from "../di.js";
import type { LifecycleEvent } from "../host/host-adapter.js";
import { planPreStart } from "../plan/plan-pre-start.js";
import { planProvide, planReconnect } from "../plan/plan-provide.js";
import type { Plan } from "../plan/step.js";
import { CLOCK, PREPARATION } from "../tokens.js";
import type { Clock } from "./clock.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation, Planner, Wishes } from "./guest-preparation.js";

/** Before a guest starts, is restored from saved memory, or is found running by a host manager that restarted. */
@injectable()
export class PreStartHandler implements EventHandler<"pre-start"> {
  constructor(
    @inject(CLOCK) private readonly clock: Clock,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
  ) {}

  plan(event: LifecycleEvent<"pre-start">): Promise<Plan> {
    return this.preparation.plan(event.guest, ...this.#manner(event));
  }

  handle(event: LifecycleEvent<"pre-start">): Promise<Plan> {
    return this.preparation.prepare(event.guest, ...this.#manner(event));
  }

  #manner({ cause }: LifecycleEvent<"pre-start">): [Planner, Wishes] {
    const now = this.clock.now();
    switch (cause) {
      case "start":
        return [(guest, facts) => planPreStart(guest, facts, now), "enforce"];
      case "restore":
        return [(guest, facts) => planProvide(guest, facts, now), "enforce"];
      case "reconnect":
        return [(_, facts) => planReconnect(facts), "ignore"];
    }
  }
}
