import type { EventName, LifecycleEvent } from "../host/host-adapter.js";
import type { Plan } from "../plan/step.js";

/** What one lifecycle event does. */
export interface EventHandler<Name extends EventName> {
  /** What `handle` would do now; changes nothing. @throws the refusal that the event would meet */
  plan(event: LifecycleEvent<Name>): Promise<Plan>;
  /** Does it, and resolves to what was done. @throws LuksmithError: the host manager is told to refuse */
  handle(event: LifecycleEvent<Name>): Promise<Plan>;
}
