import type { MappingClaim } from "../encryption/encryption-provider.js";
import type { Guest, ProvidedSecret } from "../host/host-adapter.js";
import { planOf, type Plan, type Step } from "./step.js";

/**
 * Takes away the host secrets of a guest that has stopped. Keystores are not asked: a stop looks the same as a guest
 * that migrated away, and must succeed while a keystore is down.
 */
export function planWithdrawal(provided: readonly ProvidedSecret[]): Plan {
  const secrets = provided.map(({ disk, uuid }) => ({ disk, uuid }));
  return planOf(secrets.length === 0 ? [] : [{ kind: "withdraw-secrets", secrets }]);
}

/**
 * Closes the mappings of a guest that has stopped, one plan for each, so that each is tried: those that its
 * configuration names in the place of an encryption block, and what was opened for it besides. Versions are not asked:
 * what was opened one way is closed that way, whatever was upgraded meanwhile.
 */
export function planClosing(guest: Guest, claims: readonly MappingClaim[]): Plan[] {
  const named = Object.values(guest.disks.mapping).flatMap(({ dev, mapping }): [string, string][] =>
    mapping === undefined ? [] : [[mapping, dev]],
  );
  const mappings = new Map([...named, ...claims.map(({ name, disk }): [string, string] => [name, disk])]);
  return [...mappings].map(([mapping, disk]) => {
    const closing: Step = { kind: "close-mapping", disk, mapping };
    return planOf([closing]);
  });
}
