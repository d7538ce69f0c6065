import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import type { ProvidedSecret } from "../host-adapter.js";

/** What a host secret of ours is for, as its usage says. */
export interface SecretUsage extends ProvidedSecret {
  /** The disk's own volume, or one under it, over which disks of other guests may lie as well. */
  readonly opens: "disk" | "base";
  /** Keys of what the disk lies over: of these, their own usage names but the first guest. */
  readonly over: readonly KeyUuid[];
}

/** libvirt wants a usage to be unique, so it has the UUID; it tells our secrets from all others. */
export function usageOf({ uuid, guestId, disk, opens, over }: SecretUsage): string {
  const more = opens === "base" ? [opens] : over.length === 0 ? [] : ["over", ...over];
  return ["luksmith", guestId, disk, uuid, ...more].join(":");
}

const USAGE =
  /^luksmith:(?<guestId>[0-9A-Za-z-]{1,64}):(?<disk>[a-z][0-9A-Za-z_]{1,63}):(?<uuid>[0-9a-f-]{36})(?<base>:base)?(?::over(?<over>(?::[0-9a-f-]{36})+))?$/;

/** What a libvirt secret's usage says, or undefined if the secret is not one of ours. */
export function parseUsage(usage: string): SecretUsage | undefined {
  const { guestId, disk, uuid, base, over = "" } = USAGE.exec(usage)?.groups ?? {};
  const keyUuid = parseKeyUuid(uuid ?? "");
  const bases = over.split(":").slice(1).map(parseKeyUuid);
  const isWhole = bases.every((each) => each !== undefined);
  if (guestId === undefined || disk === undefined || keyUuid === undefined || !isWhole) return undefined;
  return { guestId, disk, uuid: keyUuid, opens: base === undefined ? "disk" : "base", over: bases };
}
