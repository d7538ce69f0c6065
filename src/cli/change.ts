import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { Resources } from "../plan/perform.js";
import type { Plan } from "../plan/step.js";
import { ARRIVALS, GUEST_LOCKS, HOST, KEYRING, LOGGER, MAPPINGS, PROVIDERS, STORAGE } from "../tokens.js";

export interface GuestChange {
  /** What the log calls it. */
  readonly command: "protect" | "grow" | "attach" | "detach" | "convert" | "adopt";
  /** Name or id. */
  readonly guest: string;
  readonly manner: "apply" | "dry-run";
  /** Plans and, unless it is a dry run, does it. Reads the guest by itself: what was read before the lock is old. */
  readonly work: (nameOrId: string) => Promise<Plan>;
}

/**
 * Changes a guest under its lock: of two at once, one would go on from what the other one has changed meanwhile. What
 * was done goes to the log, and what failed as well, where an auditor finds it.
 */
export async function changeGuest(
  container: Container,
  { command, guest: name, manner, work }: GuestChange,
): Promise<void> {
  if (manner === "dry-run") {
    await work(name);
    return;
  }
  const logger = container.resolve(LOGGER);
  try {
    const guest = await container.resolve(HOST).readGuest(name);
    const { stages } = await container.resolve(GUEST_LOCKS).hold(guest, () => work(guest.id));
    logger.info(`${command} done`, { guest: name, steps: stages.flat().map((step) => step.kind) });
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    logger.error(`${command} failed`, { guest: name, error });
    process.exitCode = error.exitCode;
  } finally {
    await logger.close();
  }
}

/** What a plan is made and done with. */
export function resourcesOf(container: Container): Resources {
  return {
    host: container.resolve(HOST),
    keyring: container.resolve(KEYRING),
    storage: container.resolve(STORAGE),
    providers: container.resolve(PROVIDERS),
    mappings: container.resolve(MAPPINGS),
    arrivals: container.resolve(ARRIVALS),
    logger: container.resolve(LOGGER),
  };
}
