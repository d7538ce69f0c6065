import type { StatusOutput } from "../generated/status.js";

export type GuestStatus = StatusOutput["guests"][number];
export type DiskStatus = GuestStatus["disks"][number];
export type Verdict = DiskStatus["verdict"];
export type Summary = NonNullable<StatusOutput["summary"]>;

/** In the order of how much they matter to an administrator. */
export const VERDICTS = [
  "unprotected",
  "unproven",
  "foreign",
  "pending",
  "plain",
  "shredded",
  "protected",
] as const satisfies Verdict[];

/** What was asked beside what is true. */
export function verdictOf({ protection, askedBy }: Pick<DiskStatus, "protection" | "askedBy">): Verdict {
  switch (protection) {
    case "encrypted":
      return "protected";
    case "plain":
      return askedBy.length > 0 ? "unprotected" : "plain";
    case "unknown":
      return "unproven";
    case "pending":
    case "foreign":
    case "shredded":
      return protection;
  }
}

export function summaryOf(guests: readonly GuestStatus[]): Summary {
  const verdicts = guests.flatMap(({ disks }) => disks.map(({ verdict }) => verdict));
  const count = (wanted: Verdict) => verdicts.filter((verdict) => verdict === wanted).length;
  return {
    guests: guests.length,
    unreadable: guests.filter(isUnreadable).length,
    disks: {
      protected: count("protected"),
      unprotected: count("unprotected"),
      plain: count("plain"),
      pending: count("pending"),
      foreign: count("foreign"),
      unproven: count("unproven"),
      shredded: count("shredded"),
    },
  };
}

/** Whether nothing could be found out about its disks; a guest without disks has no problem. */
export function isUnreadable({ disks, problem }: GuestStatus): boolean {
  return disks.length === 0 && problem !== undefined;
}

/** Seconds that the passphrase has been in use; undefined where no record tells. */
export function keyAge({ keyCreatedAt, keyRotatedAt }: DiskStatus, now: Date): number | undefined {
  const since = keyRotatedAt ?? keyCreatedAt;
  return since === undefined ? undefined : Math.max(0, (now.getTime() - Date.parse(since)) / 1000);
}
