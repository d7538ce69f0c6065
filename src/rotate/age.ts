import type { KeyRecord } from "../generated/key-record.js";

const DAY = 24 * 60 * 60 * 1000;
const LONGEST = 36_500;

/** Days of `90`, `90d` or `12w`; undefined for what is no such time. */
export function parseDays(text: string): number | undefined {
  const [, digits = "", unit = "d"] = /^([0-9]{1,5})([dw])?$/.exec(text) ?? [];
  if (digits === "") return undefined;
  const days = Number(digits) * (unit === "w" ? 7 : 1);
  return days <= LONGEST ? days : undefined;
}

/** Whether the key has had its passphrase for so many days, or longer; also if its record does not tell since when. */
export function isOlderThan({ rotatedAt, createdAt }: KeyRecord, days: number, now: Date): boolean {
  const since = Date.parse(rotatedAt ?? createdAt);
  return Number.isNaN(since) || now.getTime() - since >= days * DAY;
}
