import { inject, injectable } from "../di.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import type { HostAdapter, LifecycleEvent } from "../host/host-adapter.js";
import { planPostStop } from "../plan/plan-post-stop.js";
import type { Plan } from "../plan/step.js";
import { HOST, MAPPINGS, PREPARATION } from "../tokens.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation } from "./guest-preparation.js";

/** After a guest has stopped or migrated away, or could not start: takes its host secrets away and closes its mappings. Never deletes a key. */
@injectable()
export class PostStopHandler implements EventHandler<"post-stop"> {
  constructor(
    @inject(HOST) private readonly host: HostAdapter,
    @inject(MAPPINGS) private readonly mappings: Mappings,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
  ) {}

  async plan({ guest }: LifecycleEvent<"post-stop">): Promise<Plan> {
    return planPostStop(guest, await this.host.providedSecrets(guest), this.mappings.claims(guest.id));
  }

  async handle(event: LifecycleEvent<"post-stop">): Promise<Plan> {
    return this.preparation.execute(event.guest, await this.plan(event));
  }
}
