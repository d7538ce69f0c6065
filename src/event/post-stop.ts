import { inject, injectable } from "../di.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { LeftBehind } from "../exec/left-behind.js";
import type { Guest, HostAdapter, LifecycleEvent } from "../host/host-adapter.js";
import type { Logger } from "../log/logger.js";
import type { Arrivals } from "../migration/arrivals.js";
import { planClosing, planWithdrawal } from "../plan/plan-post-stop.js";
import { planOf, type Plan } from "../plan/step.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { ARRIVALS, HOST, LEAVE_BEHIND, LOGGER, MAPPINGS, PREPARATION, SETTINGS } from "../tokens.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation } from "./guest-preparation.js";
import { reportSavedMemory } from "./saved-memory-policy.js";

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
    @inject(ARRIVALS) private readonly arrivals: Arrivals,
    @inject(LEAVE_BEHIND) private readonly leaveBehind: (left: LeftBehind) => void,
    @inject(SETTINGS) private readonly settings: EffectiveSettings,
    @inject(LOGGER) private readonly logger: Logger,
  ) {}

  async plan({ guest }: LifecycleEvent<"post-stop">): Promise<Plan> {
    return together([await this.#withdrawal(guest), ...this.#closing(guest)]);
  }

  async handle({ guest }: LifecycleEvent<"post-stop">): Promise<Plan> {
    const { host, logger, settings } = this;
    reportSavedMemory(guest, { host, logger, settings });
    const perform = (plan: Plan) => this.preparation.execute(guest, plan);
    const withdraw = async () => perform(await this.#withdrawal(guest));
    const done = await Promise.allSettled([
      withdraw().catch((thrown: unknown) => this.#reapLater(thrown)),
      ...this.#closing(guest).map(perform),
      Promise.resolve().then(() => this.#forgetOrSettle(guest)),
    ]);
    const failure = done.find((result) => result.status === "rejected");
    if (failure !== undefined) throw failure.reason;
    return together(done.flatMap((result) => (result.status === "fulfilled" ? (result.value ?? []) : [])));
  }

  async #withdrawal(guest: Guest): Promise<Plan> {
    return planWithdrawal(await this.host.providedSecrets(guest, "brief"));
  }

  /**
   * libvirt answers nobody, this hook included, while it ends a guest whose migration has lost its source: what such a
   * guest has is taken away when this hook has ended.
   */
  #reapLater(thrown: unknown): never {
    if (thrown instanceof LuksmithError && thrown.code === "HOST_UNAVAILABLE")
      this.leaveBehind({ command: "reap" });
    throw thrown;
  }

  /** What was copied may still have to be said in the guest's configuration, which no hook can ask for. */
  #forgetOrSettle(guest: Guest): void {
    const noted = this.arrivals.find(guest);
    if (noted === undefined) return;
    // not a note that a next migration has written meanwhile
    if (noted === "damaged") this.arrivals.forget(guest);
    else if (noted.copies.length === 0) this.arrivals.forget(guest, noted.nonce);
    else if (noted.stage === "arrived") this.leaveBehind({ command: "settle", guest: guest.id });
  }

  #closing(guest: Guest): Plan[] {
    return planClosing(guest, this.mappings.claims(guest.id));
  }
}

/** As one plan, for whoever reads it. */
function together(plans: readonly Plan[]): Plan {
  return planOf(plans.flatMap(({ stages }) => stages.flat()));
}
