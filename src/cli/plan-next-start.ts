import type { Container } from "../di.js";
import { dispatch } from "../event/dispatch.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import type { Plan } from "../plan/step.js";

/** What a start of the guest would do now. @throws what it would be refused for */
export async function planNextStart(container: Container, guest: ConfiguredGuest): Promise<Plan> {
  // a start resumes what was saved, and libvirt calls the hook of an ordinary start as well, afterwards
  if (guest.saved) await dispatch(container, { event: "pre-start", cause: "restore", guest }, "plan");
  return await dispatch(container, { event: "pre-start", cause: "start", guest }, "plan");
}
