import { LuksmithError } from "../../error/luksmith-error.js";
import { Budget } from "../remote/budget.js";
import type { SecretEntry } from "./secret-entry.js";
import type { Secrets } from "./secrets.js";

/** Milliseconds; longer than any operation takes, and than the clocks of Barbican's servers differ. */
const ABANDONED_AFTER = 600_000;
/** Milliseconds from the look at a secret that has no payload in which its removal is sent, or is not. */
const SENT_WITHIN = 1500;
/** Milliseconds from that look after which Barbican has done what it was sent. */
export const REMOVED_WITHIN = 3000;

/**
 * Whether it has no payload and is so old that only a writer can have left it who was killed, or has given up.
 * @param now `created` of a secret that was made just now: both are Barbican's clock, and this host's may be wrong
 */
export function isAbandoned({ contentType, created }: SecretEntry, now: string): boolean {
  return contentType === undefined && Date.parse(`${created}Z`) < Date.parse(`${now}Z`) - ABANDONED_AFTER;
}

/**
 * Removes somebody else's secret that has no payload, if Barbican is so quick that its writer can know: the payload may
 * come between the look and the removal, and then the writer who has waited for REMOVED_WITHIN finds it gone. What stays
 * is the next one's.
 */
export async function removeUnfinished(secrets: Secrets, id: string, { left }: Budget): Promise<void> {
  const short = new Budget(Math.min(SENT_WITHIN, left));
  try {
    const entry = await secrets.entry(id, short);
    if (entry !== undefined && entry.contentType === undefined) await secrets.remove(id, short, "once");
  } catch (thrown) {
    // too slow, or away: whoever needs Barbican next hears of it
    if (!(thrown instanceof LuksmithError) || thrown.code !== "KEYSTORE_UNAVAILABLE") throw thrown;
  }
}
