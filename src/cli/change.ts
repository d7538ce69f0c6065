import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { problemOf } from "../error/problem.js";
import type { ErrorOutput } from "../generated/error.js";
import validate from "../generated/validate-error.cjs";
import { followSettings } from "./follow-settings.js";
import type { Plan } from "../plan/step.js";
import { printJsonLine } from "./output.js";
import { GUEST_LOCKS, HOST, LOGGER } from "../tokens.js";

export interface GuestChange {
  /** What the log calls it. */
  readonly command:
    | "protect"
    | "grow"
    | "attach"
    | "detach"
    | "convert"
    | "adopt"
    | "rotate"
    | "unprotect"
    | "purge"
    | "escrow"
    | "separate";
  /** Name or id. */
  readonly guest: string;
  readonly manner: "apply" | "dry-run";
  /** json: what failed is said on standard output as well. */
  readonly output?: "text" | "json";
  /** Plans and, unless it is a dry run, does it. Reads the guest by itself: what was read before the lock is old. */
  readonly work: (nameOrId: string) => Promise<Plan>;
}

/**
 * Changes a guest under its lock: of two at once, one would go on from what the other one has changed meanwhile. What
 * was done goes to the log, and what failed as well, where an auditor finds it.
 */
export async function changeGuest(
  container: Container,
  { command, guest: name, manner, output, work }: GuestChange,
): Promise<void> {
  if (manner === "dry-run") {
    await work(name);
    return;
  }
  const logger = container.resolve(LOGGER);
  try {
    const guest = await container.resolve(HOST).readGuest(name);
    const { stages } = await container.resolve(GUEST_LOCKS).hold(guest, async () => {
      const plan = await work(guest.id);
      if (ENCRYPTING.has(command)) await followSettings(container, guest.id);
      return plan;
    });
    logger.info(`${command} done`, { guest: name, steps: stages.flat().map((step) => step.kind) });
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    logger.error(`${command} failed`, { guest: name, error });
    if (output === "json") printJsonLine(validate, { error: problemOf(error) } satisfies ErrorOutput);
    process.exitCode = error.exitCode;
  } finally {
    await logger.close();
  }
}

/** What makes encrypted disks, which get the recovery keyslots that the settings want. */
const ENCRYPTING: ReadonlySet<GuestChange["command"]> = new Set([
  "protect",
  "attach",
  "convert",
  // only that of volume keys changes a guest
  "rotate",
  // destroys those of the original
  "separate",
]);
