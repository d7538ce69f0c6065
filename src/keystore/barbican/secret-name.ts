import type { KeyRecord } from "../../generated/key-record.js";

/** Characters that Barbican takes. */
const LONGEST = 255;

/**
 * What people read in a list of secrets, `luksmith web1 vda`; nothing is found by it. Barbican keeps it as it was when
 * the key was stored.
 */
export function secretNameOf({ guest, disk }: KeyRecord): string {
  const start = `luksmith ${plain(guest.name)}`;
  const end = ` ${plain(disk)}`;
  const room = LONGEST - Math.min(end.length, LONGEST);
  const name = start.length > room ? `${start.slice(0, room - 1)}…` : start;
  return `${name}${end}`.slice(0, LONGEST);
}

/** Without what steers a terminal, is half a character, or is beyond what MariaDB's older `utf8` can keep. */
function plain(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|[\u{10000}-\u{10ffff}]/gu, "\ufffd");
}
