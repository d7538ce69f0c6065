import type { Budget } from "../remote/budget.js";
import { isRefusedAsMissing } from "./failures.js";

/** How often an object is asked for that the server lists and denies, and milliseconds before the last time. */
const LOOKS = 3;
const PAUSE = 200;

/**
 * What `look` finds of all that the server lists. An object that it lists and denies may have been destroyed in between:
 * then it is not listed again. Otherwise it is kept from us, or has not come to the node that answers.
 * @param look answers undefined for what does not count
 * @throws Refusal for an object that stays listed and denied: that is not one that is not there
 */
export async function lookAtListed<T>(
  list: () => Promise<readonly string[]>,
  look: (id: string) => Promise<T | undefined>,
  budget: Budget,
): Promise<T[]> {
  const found: T[] = [];
  let ids = await list();
  for (let count = 1; ; count++) {
    const seen = await Promise.allSettled(ids.map(look));
    const denied: { id: string; refusal: Error }[] = [];
    for (const [position, result] of seen.entries()) {
      if (result.status === "rejected") {
        const refusal: unknown = result.reason;
        if (!isRefusedAsMissing(refusal)) throw refusal;
        denied.push({ id: ids[position] ?? "", refusal });
      } else if (result.value !== undefined) found.push(result.value);
    }
    const [first] = denied;
    if (first === undefined) return found;
    if (count === LOOKS) throw first.refusal;
    if (count > 1) await budget.pause(PAUSE);
    const listed = new Set(await list());
    ids = denied.map(({ id }) => id).filter((id) => listed.has(id));
  }
}
