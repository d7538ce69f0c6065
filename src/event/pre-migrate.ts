import { inject, injectable } from "../di.js";
import type { LeftBehind } from "../exec/left-behind.js";
import type { Guest, HostAdapter, LifecycleEvent } from "../host/host-adapter.js";
import type { Arrivals } from "../migration/arrivals.js";
import { planArrival } from "../migration/plan-arrival.js";
import { planProvide } from "../plan/plan-provide.js";
import { planOf, type Plan } from "../plan/step.js";
import { ARRIVALS, CLOCK, HOST, LEAVE_BEHIND, PREPARATION } from "../tokens.js";
import type { Clock } from "./clock.js";
import type { EventHandler } from "./event-handler.js";
import type { GuestPreparation, Manner, Planner } from "./guest-preparation.js";

/**
 * On the target of a migration, while the guest runs at its source: provides the secrets of disks that are the same
 * here, makes new ones ready for what is copied to them, and refuses the rest. When QEMU waits for the guest, looks
 * once more whether what comes is what was prepared for.
 */
@injectable()
export class PreMigrateHandler implements EventHandler<"pre-migrate"> {
  constructor(
    @inject(CLOCK) private readonly clock: Clock,
    @inject(HOST) private readonly host: HostAdapter,
    @inject(PREPARATION) private readonly preparation: GuestPreparation,
    @inject(ARRIVALS) private readonly arrivals: Arrivals,
    @inject(LEAVE_BEHIND) private readonly leaveBehind: (left: LeftBehind) => void,
  ) {}

  async plan({ cause, guest }: LifecycleEvent<"pre-migrate">): Promise<Plan> {
    if (cause === "arrival") return planOf();
    return await this.preparation.plan(arriving(guest), this.#planner(), this.#manner());
  }

  async handle(event: LifecycleEvent<"pre-migrate">): Promise<Plan> {
    switch (event.cause) {
      case "migrate":
        return await this.preparation.prepare(arriving(event.guest), this.#planner(), this.#manner());
      case "arrival":
        await this.#receive(event.guest);
        return planOf();
      case "check":
        return await this.plan(event);
    }
  }

  #planner(): Planner {
    const now = this.clock.now();
    if (this.host.makesCopiesItself) return (guest, facts) => planProvide(guest, facts, now);
    return (guest, facts, copies) => planArrival(guest, facts, copies, now);
  }

  /** Volumes that are copied to by a host manager that makes them are encrypted already, each under its own key. */
  #manner(): Manner {
    return this.host.makesCopiesItself ? "stays" : "arrives";
  }

  /** Libvirt calls this for every guest that starts while any other one arrives. */
  async #receive(guest: Guest): Promise<void> {
    const noted = this.arrivals.find(guest);
    if (noted === undefined) return;
    if (noted !== "damaged" && noted.stage === "arrived") {
      // that one is over: the guest starts again, and nobody has put its configuration right yet
      this.leaveBehind({ command: "settle", guest: guest.id });
      return;
    }
    const { requireExpected } = await import("../migration/require-expected.js");
    const incoming = await this.host.migration.incoming(guest);
    try {
      requireExpected(incoming.brings === "nothing" ? guest : arriving(guest), noted, incoming);
    } catch (thrown) {
      // nothing comes any more; what was made ready is known by its key at the next attempt
      if (noted !== "damaged" && incoming.brings !== "nothing") this.arrivals.forget(guest, noted.nonce);
      throw thrown;
    }
    if (noted === "damaged" || noted.copies.length === 0) {
      this.arrivals.forget(guest, noted === "damaged" ? undefined : noted.nonce);
      return;
    }
    this.arrivals.arrived(noted, this.host.migration.isDefined(guest));
    this.leaveBehind({ command: "settle", guest: guest.id });
  }
}

function arriving(guest: Guest): Guest {
  return { ...guest, arrives: true };
}
