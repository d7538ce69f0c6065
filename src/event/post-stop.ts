import { inject, injectable } from "../di.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import type { Guest, HostAdapter, LifecycleEvent } from "../host/host-adapter.js";
import { planClosing, planWithdrawal } from "../plan/plan-post-stop.js";
import { planOf, type Plan } from "../plan/step.js";
import { HOST, MAPPINGS, PREPARATION } from "../tokens.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation } from "./guest-preparation.js";

/**
 * After a guest has stopped or migrated away, or could not start: takes its host secrets away and closes its mappings.
 * Never deletes a key. Whatever of it fails, the rest is done.
 */
@injectable()
export class PostStopHandler implements EventHandler<"post-stop"> {
  constructor(
    @inject(HOST) private readonly host: HostAdapter,
    @inject(MAPPINGS) private readonly mappings: Mappings,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
  ) {}

  async plan({ guest }: LifecycleEvent<"post-stop">): Promise<Plan> {
    return together([await this.#withdrawal(guest), ...this.#closing(guest)]);
  }

  async handle({ guest }: LifecycleEvent<"post-stop">): Promise<Plan> {
    const perform = (plan: Plan) => this.preparation.execute(guest, plan);
    const done = await Promise.allSettled([
      this.#withdrawal(guest).then(perform),
      ...this.#closing(guest).map(perform),
    ]);
    const failure = done.find((result) => result.status === "rejected");
    if (failure !== undefined) throw failure.reason;
    return together(done.flatMap((result) => (result.status === "fulfilled" ? result.value : [])));
  }

  async #withdrawal(guest: Guest): Promise<Plan> {
    return planWithdrawal(await this.host.providedSecrets(guest));
  }

  #closing(guest: Guest): Plan[] {
    return planClosing(guest, this.mappings.claims(guest.id));
  }
}

/** As one plan, for whoever reads it. */
function together(plans: readonly Plan[]): Plan {
  return planOf(plans.flatMap(({ stages }) => stages.flat()));
}
