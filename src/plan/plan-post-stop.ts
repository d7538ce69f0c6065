import type { ProvidedSecret } from "../host/host-adapter.js";
import { planOf, type Plan } from "./step.js";

/**
 * Takes away the host secrets of a guest that has stopped. Keystores are not asked: a stop looks the same as a guest
 * that migrated away, and must succeed while a keystore is down.
 */
export function planPostStop(provided: readonly ProvidedSecret[]): Plan {
  const secrets = provided.map(({ disk, uuid }) => ({ disk, uuid }));
  return planOf(secrets.length === 0 ? [] : [{ kind: "withdraw-secrets", secrets }]);
}
