import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import type { ProvidedSecret } from "../host-adapter.js";
import { parseUsage, type SecretUsage } from "./secret-usage.js";

/** libvirt's secrets by UUID: what one of ours is for, undefined for a foreign one. */
export type HostSecrets = ReadonlyMap<KeyUuid, SecretUsage | undefined>;

/** `virsh secret-list` has UUID, type of usage and usage on each line; line breaks in it are escaped. */
export function parseSecretList(stdout: string): HostSecrets {
  const secrets = new Map<KeyUuid, SecretUsage | undefined>();
  for (const line of stdout.split("\n")) {
    const [, text = "", usage = ""] = /^\s*([0-9a-f-]{36})\s+(?:volume\s+(.*\S))?/i.exec(line) ?? [];
    const uuid = parseKeyUuid(text);
    if (uuid === undefined) continue;
    const said = parseUsage(usage);
    secrets.set(uuid, said?.uuid === uuid ? said : undefined);
  }
  return secrets;
}

/**
 * Which guest needs which of our secrets, and for which disk. The secret of a base can be needed by many, and no
 * secret can be renamed: so each overlay's own secret says what it lies over.
 */
export function needsOf(secrets: HostSecrets): ProvidedSecret[] {
  const ours = [...secrets.values()].filter((secret) => secret !== undefined);
  const ofOverlays = ours.flatMap(({ guestId, disk, over }) =>
    over.filter((uuid) => secrets.get(uuid) !== undefined).map((uuid) => ({ uuid, guestId, disk })),
  );
  const shared = new Set(ofOverlays.map(({ uuid }) => uuid));
  const named = ours
    .filter(({ uuid, opens }) => opens === "disk" || !shared.has(uuid))
    .map(({ uuid, guestId, disk }) => ({ uuid, guestId, disk }));
  return [...named, ...ofOverlays];
}
