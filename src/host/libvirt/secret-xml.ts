import { create } from "xmlbuilder2";
import { printable } from "../../error/printable.js";
import { parseKeyUuid } from "../../keystore/key-uuid.js";
import type { ProvidedSecret } from "../host-adapter.js";

export interface SecretIdentity extends ProvidedSecret {
  readonly guestName: string;
}

/**
 * The libvirt secret that will hold a disk's passphrase: never written to disk (ephemeral) and never told to a client
 * (private). Source: libvirt "Secret XML format". It holds no passphrase.
 */
export function secretXml({ uuid, guestId, guestName, disk }: SecretIdentity): string {
  return create({
    secret: {
      "@ephemeral": "yes",
      "@private": "yes",
      uuid,
      description: `Luksmith: disk ${disk} of guest ${printable(guestName)}`,
      usage: { "@type": "volume", volume: usageOf({ uuid, guestId, disk }) },
    },
  }).end({ headless: true });
}

/** libvirt wants a usage to be unique, so it ends in the UUID; it tells our secrets from all others. */
function usageOf({ uuid, guestId, disk }: ProvidedSecret): string {
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
