import { asLuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import type { StorageRegistry } from "../storage/index.js";
import { cannotStart } from "./cannot-start.js";
import type { Plan } from "./step.js";

/**
 * Before the first step of a start: a key that is stored for a volume which may not be formatted would stay for nothing.
 * @throws VOLUME_FORMAT_FORBIDDEN if a step would format what the settings let nobody format
 */
export async function refuseForbiddenFormats(
  guest: Guest,
  plan: Plan,
  storage: Pick<StorageRegistry, "formattingBackendFor">,
): Promise<void> {
  for (const step of plan.stages.flat()) {
    if (step.kind !== "format") continue;
    try {
      await storage.formattingBackendFor(step.volume);
    } catch (thrown) {
      throw asLuksmithError(thrown).within(`${cannotStart(guest)}: disk ${step.disk}`);
    }
  }
}
