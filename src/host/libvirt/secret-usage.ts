import { parseKeyUuid } from "../../keystore/key-uuid.js";
import type { ProvidedSecret } from "../host-adapter.js";

/** libvirt wants a usage to be unique, so it ends in the UUID; it tells our secrets from all others. */
export function usageOf({ uuid, guestId, disk }: ProvidedSecret): string {
  return `luksmith:${guestId}:${disk}:${uuid}`;
}

const USAGE =
  /^luksmith:(?<guestId>[0-9A-Za-z-]{1,64}):(?<disk>[a-z][0-9A-Za-z_]{1,63}):(?<uuid>[0-9a-f-]{36})$/;

/** What a libvirt secret's usage says, or undefined if the secret is not one of ours. */
export function parseUsage(usage: string): ProvidedSecret | undefined {
  const { guestId, disk, uuid } = USAGE.exec(usage)?.groups ?? {};
  const keyUuid = parseKeyUuid(uuid ?? "");
  if (guestId === undefined || disk === undefined || keyUuid === undefined) return undefined;
  return { guestId, disk, uuid: keyUuid };
}
