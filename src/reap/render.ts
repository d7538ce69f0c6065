import type { Reaped } from "./reaper.js";

/** What became of a leftover, in one line for a person. */
export function renderReaped(reaped: Reaped): string {
  const { kind, name, outcome, why = "nobody knows why" } = reaped;
  const thing =
    kind === "arrival" || kind === "paused-guest"
      ? `${NAMES[kind]} ${reaped.guest?.name ?? name}`
      : `${NAMES[kind]} ${name}${ownerOf(reaped)}`;
  switch (outcome) {
    case "cleaned":
      return `${CLEANED[kind]} ${thing}`;
    case "left":
      return `left ${thing}: ${why}`;
    case "found":
      return `would ${kind === "paused-guest" ? "wake" : "clean up"} ${thing}`;
  }
}

const NAMES = {
  mapping: "mapping",
  "host-secret": "host secret",
  claim: "unreadable claim of mapping",
  arrival: "the migration of guest",
  export: "exported volume",
  "freed-key": "key of a destroyed volume",
  "former-key": "former passphrase",
  "paused-guest": "paused guest",
} as const;
const CLEANED = {
  mapping: "closed",
  "host-secret": "withdrew",
  claim: "removed",
  arrival: "settled",
  export: "closed",
  "freed-key": "deleted",
  "former-key": "deleted",
  "paused-guest": "woke",
} as const;

function ownerOf({ guest, disk }: Reaped): string {
  if (guest === undefined) return "";
  return ` of disk ${disk ?? ""} of guest ${guest.name ?? guest.id}`;
}
