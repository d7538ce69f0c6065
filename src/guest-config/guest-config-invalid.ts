import { LuksmithError } from "../error/luksmith-error.js";

/** What is thrown for every guest configuration that cannot be trusted to mean what it says. */
export function guestConfigInvalid(why: string): LuksmithError {
  return new LuksmithError("GUEST_CONFIG_INVALID", {
    what: "the guest's configuration cannot be used",
    why,
  });
}
