import type { Verdict } from "../../words/verdicts.js";
import type { Guest } from "./guest.js";

export interface Filter {
  /** Part of a guest's name or id. */
  readonly text: string;
  /** refused: guests whose next start would be. A verdict: guests with such a disk. */
  readonly state: "all" | "refused" | Verdict;
}

export const EVERYTHING: Filter = { text: "", state: "all" };

export function matching(guests: readonly Guest[], { text, state }: Filter): readonly Guest[] {
  const wanted = text.trim().toLowerCase();
  return guests.filter(
    (guest) => (guest.name.toLowerCase().includes(wanted) || guest.id.includes(wanted)) && isIn(guest, state),
  );
}

function isIn({ problem, disks }: Guest, state: Filter["state"]): boolean {
  if (state === "all") return true;
  if (state === "refused") return problem !== undefined;
  return disks.some(({ verdict }) => verdict === state);
}
