import type { StatusOutput } from "../../generated/status.js";
import { isList, isObject, type Json, textIn } from "./json.js";
import { SETTINGS_SCHEMA } from "./schema.js";

/** Names of the profiles whose new keys go to the keystore: they name it, or it is the first and they name none. */
export function whoUses(settings: Json | undefined, keystore: string): string[] {
  const [first] = namesOf(settings, "keystores");
  return itemsNamed(settings, "profiles")
    .filter((profile) => (textIn(profile, "keystore") ?? first) === keystore)
    .map((profile) => textIn(profile, "name") ?? "without a name");
}

/** Also those that are there while the settings name none. */
export function namesOf(settings: Json | undefined, list: NamedList): string[] {
  return itemsNamed(settings, list)
    .map((item) => textIn(item, "name"))
    .filter((name) => name !== undefined);
}

type NamedList = "keystores" | "profiles" | "rules";

/** With the schema's default where the settings do not have the list. */
export function itemsNamed(settings: Json | undefined, list: NamedList): readonly Json[] {
  const items = isObject(settings) ? settings[list] : undefined;
  if (isList(items)) return items;
  const { default: fallback } = SETTINGS_SCHEMA.properties?.[list] ?? {};
  return isList(fallback) ? fallback : [];
}

/** What is lost with a keystore, as far as the host's disks tell. */
export interface KeysInUse {
  /** `web1 vda`: disks whose key lies in it. */
  readonly disks: readonly string[];
  /** Disks and guests of which nobody knows where their key is. */
  readonly unknown: number;
}

export function keysInUse(status: StatusOutput, keystores: readonly string[]): KeysInUse {
  const disks = status.guests.flatMap((guest) => guest.disks.map((disk) => ({ guest: guest.name, ...disk })));
  return {
    disks: disks
      .filter(({ keystore = "" }) => keystores.includes(keystore))
      .map(({ guest, device }) => `${guest} ${device}`),
    unknown:
      disks.filter(({ verdict, keystore: known }) => verdict === "unproven" && known === undefined).length +
      (status.summary?.unreadable ?? 0),
  };
}
