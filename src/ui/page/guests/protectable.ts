import type { Disk } from "./guest.js";

/** Whether `luksmith protect` has something to do for it; it may refuse all the same, and says why. */
export function canBeProtected({ verdict }: Pick<Disk, "verdict">): boolean {
  switch (verdict) {
    case "plain":
    case "unprotected":
      return true;
    case "protected":
    case "pending":
    case "foreign":
    case "unproven":
    case "shredded":
      return false;
  }
}
