import { create } from "xmlbuilder2";
import { printable } from "../../error/printable.js";
import type { ProvidedSecret } from "../host-adapter.js";
import { usageOf } from "./secret-usage.js";

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
