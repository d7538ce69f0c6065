import { inject, injectable } from "../di.js";
import type { Guest, HostAdapter, LifecycleEvent } from "../host/host-adapter.js";
import type { Logger } from "../log/logger.js";
import type { Arrivals } from "../migration/arrivals.js";
import { planPreStart } from "../plan/plan-pre-start.js";
import { planProvide } from "../plan/plan-provide.js";
import type { Plan } from "../plan/step.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { ARRIVALS, CLOCK, HOST, LOGGER, PREPARATION, SETTINGS } from "../tokens.js";
import type { Clock } from "./clock.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation, Planner } from "./guest-preparation.js";
import { applySavedMemoryPolicy, refuseSavedMemory } from "./saved-memory-policy.js";

/** Before a guest starts, is restored from saved memory, or is found running by a host manager that restarted. */
@injectable()
export class PreStartHandler implements EventHandler<"pre-start"> {
  constructor(
    @inject(CLOCK) private readonly clock: Clock,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
    @inject(ARRIVALS) private readonly arrivals: Arrivals,
    @inject(HOST) private readonly host: HostAdapter,
    @inject(SETTINGS) private readonly settings: EffectiveSettings,
    @inject(LOGGER) private readonly logger: Logger,
  ) {}

  async plan({ cause, guest }: LifecycleEvent<"pre-start">): Promise<Plan> {
    if (cause === "reconnect") return await this.preparation.planReconnect(guest);
    if (cause === "restore") refuseSavedMemory(guest, this.#surroundings());
    return await this.preparation.plan(guest, await this.#planner(cause, guest));
  }

  async handle({ cause, guest }: LifecycleEvent<"pre-start">): Promise<Plan> {
    if (cause === "reconnect") return await this.preparation.reconnect(guest);
    if (cause === "restore") applySavedMemoryPolicy(guest, this.#surroundings());
    return await this.preparation.prepare(guest, await this.#planner(cause, guest));
  }

  #surroundings() {
    const { settings, host, logger } = this;
    return { settings, host, logger };
  }

  async #planner(cause: "start" | "restore", guest: Guest): Promise<Planner> {
    const now = this.clock.now();
    switch (cause) {
      case "start": {
        const noted = this.arrivals.find(guest);
        if (noted === undefined) return (_, facts) => planPreStart(guest, facts, now);
        // libvirt calls this after the hook of a migration too, and what that has not formatted is not new
        const { planNoted } = await import("../migration/plan-noted.js");
        return (_, facts) => planNoted(guest, noted, facts, now);
      }
      case "restore":
        return (_, facts) => planProvide(guest, facts, now);
    }
  }
}
