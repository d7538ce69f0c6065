import { Secret } from "../../secret/secret.js";
import { takeText } from "./json-bytes.js";
import { asObject, objectOf } from "./vault-client.js";

/** A token and its time, in the milliseconds of `performance.now()`. */
export interface Lease {
  readonly token: Secret;
  /** How long the server gave it when it was new; Infinity for one that does not expire. */
  readonly seconds: number;
  readonly half: number;
  readonly end: number;
  readonly renewable: boolean;
}

export function makeLease(token: Secret, seconds: number, renewable: boolean): Lease {
  const now = performance.now();
  return { token, seconds, half: now + 500 * seconds, end: now + 1000 * seconds, renewable };
}

/**
 * The member `auth` of the answer to a login or a renewal, or undefined if it has none that can be used. Wipes the
 * token in `body`.
 * @param known the token if it is known already: a renewal says it again
 */
export function readLease(body: Buffer, known?: { readonly token: Secret }): Lease | undefined {
  const taken = takeText(body, "client_token");
  const auth = asObject(objectOf(body)?.["auth"]);
  body.fill(0);
  const { lease_duration: duration, renewable } = auth ?? {};
  if (taken === undefined || taken.length === 0 || typeof duration !== "number" || duration < 0) {
    taken?.fill(0);
    return undefined;
  }
  if (known !== undefined) taken.fill(0);
  // 0 is how the server says that a token never expires
  const seconds = duration === 0 ? Infinity : duration;
  return makeLease(known?.token ?? Secret.own(taken), seconds, renewable === true);
}

/** The least time until somebody tries again to renew a token, in milliseconds. */
const PAUSE = 1000;

/** To be renewed later than it was: when half of the rest of its time is over. */
export function postponed(lease: Lease): Lease {
  const now = performance.now();
  return { ...lease, half: now + Math.max(PAUSE, (lease.end - now) / 2) };
}
