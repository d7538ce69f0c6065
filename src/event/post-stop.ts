import { inject, injectable } from "../di.js";
import type { HostAdapter, LifecycleEvent } from "../host/host-adapter.js";
import { planPostStop } from "../plan/plan-post-stop.js";
import type { Plan } from "../plan/step.js";
import { HOST, PREPARATION } from "../tokens.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation } from "./guest-preparation.js";

/** After a guest has stopped or migrated away, or could not start: takes its host secrets away. Never a key. */
@injectable()
export class PostStopHandler implements EventHandler<"post-stop"> {
  constructor(
    @inject(HOST) private readonly host: HostAdapter,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
  ) {}

  async plan({ guest }: LifecycleEvent<"post-stop">): Promise<Plan> {
    return planPostStop(await this.host.providedSecrets(guest));
  }

  async handle(event: LifecycleEvent<"post-stop">): Promise<Plan> {
    return this.preparation.execute(event.guest, await this.plan(event));
  }
}
