import type { Container } from "../di.js";
import type { LifecycleEvent } from "../host/host-adapter.js";
import type { Plan } from "../plan/step.js";
import { POST_STOP, PRE_MIGRATE, PRE_START } from "../tokens.js";

/** Hands the event to its handler, which alone is made: the container builds what is asked for. */
export function dispatch(
  container: Container,
  event: LifecycleEvent,
  manner: "handle" | "plan",
): Promise<Plan> {
  switch (event.event) {
    case "pre-start":
      return container.resolve(PRE_START)[manner](event);
    case "pre-migrate":
      return container.resolve(PRE_MIGRATE)[manner](event);
    case "post-stop":
      return container.resolve(POST_STOP)[manner](event);
  }
}
