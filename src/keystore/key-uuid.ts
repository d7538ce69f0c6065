import { randomUUID } from "node:crypto";

declare const brand: unique symbol;

/**
 * The identity of a key: the UUID of the key record, of the LUKS header, of the host secret and of the guest's
 * encryption block. Lower case, RFC 4122 text form.
 */
export type KeyUuid = string & { readonly [brand]: "KeyUuid" };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The KeyUuid that `text` is (upper case accepted, as libvirt does), or undefined: it may become a file name. */
export function parseKeyUuid(text: string): KeyUuid | undefined {
  const lower = text.toLowerCase();
  return UUID.test(lower) ? (lower as KeyUuid) : undefined;
}

export function newKeyUuid(): KeyUuid {
  return randomUUID() as string as KeyUuid;
}
