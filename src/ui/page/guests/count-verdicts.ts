import { type Verdict, VERDICT_ORDER } from "../../words/verdicts.js";

/** How many of the disks have which verdict, without those that none has. */
export function countVerdicts(disks: readonly { readonly verdict: Verdict }[]): [Verdict, number][] {
  const counts = new Map<Verdict, number>();
  for (const { verdict } of disks) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  return VERDICT_ORDER.flatMap((verdict) => {
    const count = counts.get(verdict);
    return count === undefined ? [] : [[verdict, count] satisfies [Verdict, number]];
  });
}
