import type { MappingClaim } from "../encryption/encryption-provider.js";
import type { Guest, ProvidedSecret } from "../host/host-adapter.js";
import { planOf, type Plan, type Step } from "./step.js";

/**
 * Takes away the host secrets of a guest that has stopped, and closes its mappings: those of disks that have no
 * encryption block in its configuration, and what was opened for it besides. Versions are not asked: what was opened
 * one way is closed that way, whatever was upgraded meanwhile. Nor are keystores: a stop looks the same as a guest
 * that migrated away, and must succeed while a keystore is down.
 */
export function planPostStop(
  guest: Guest,
  provided: readonly ProvidedSecret[],
  claims: readonly MappingClaim[],
): Plan {
  const secrets = provided.map(({ disk, uuid }) => ({ disk, uuid }));
  const annotated = Object.values(guest.disks.mapping).flatMap(({ dev, mapping }): [string, string][] =>
    mapping === undefined ? [] : [[mapping, dev]],
  );
  const mappings = new Map([...annotated, ...claims.map(({ name, disk }): [string, string] => [name, disk])]);
  const closing = [...mappings].map(([mapping, disk]): Step => ({ kind: "close-mapping", disk, mapping }));
  const withdrawing: Step[] = secrets.length === 0 ? [] : [{ kind: "withdraw-secrets", secrets }];
  return planOf([...withdrawing, ...closing]);
}
