import { create } from "xmlbuilder2";
import { printable } from "../../error/printable.js";
import { type SecretUsage, usageOf } from "./secret-usage.js";

export interface SecretIdentity extends SecretUsage {
  readonly guestName: string;
}

/**
 * The libvirt secret that will hold a disk's passphrase: never written to disk (ephemeral) and never told to a client
 * (private). Source: libvirt "Secret XML format". It holds no passphrase.
 */
export function secretXml({ guestName, ...identity }: SecretIdentity): string {
  const { uuid, disk, opens } = identity;
  const opened = opens === "base" ? `a volume under disk ${disk}` : `disk ${disk}`;
  return create({
    secret: {
      "@ephemeral": "yes",
      "@private": "yes",
      uuid,
      description: `Luksmith: ${opened} of guest ${printable(guestName)}`,
      usage: { "@type": "volume", volume: usageOf(identity) },
    },
  }).end({ headless: true });
}
