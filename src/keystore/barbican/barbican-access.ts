import type { LuksmithError } from "../../error/luksmith-error.js";
import type { Budget } from "../remote/budget.js";
import type { Place } from "../remote/failures.js";

/** For whom `headers` speaks, as Keystone has said: names for messages. */
export interface Identity {
  readonly user: string;
  readonly project: string;
  readonly roles: readonly string[];
}

/** Who Luksmith is to Barbican, and where Barbican is. */
export interface BarbicanAccess {
  /** Barbican's address without `/v1`, from the settings or from Keystone's service catalog. */
  endpoint(budget: Budget): Promise<string>;

  /**
   * The headers that every request carries: a token, or the project id where there is no Keystone. Made once and kept;
   * calls at the same time share one authentication.
   * @throws KEYSTORE_AUTH_FAILED, KEYSTORE_UNAVAILABLE
   */
  headers(budget: Budget): Promise<Readonly<Record<string, string>>>;

  /**
   * Barbican answered 401 to `refused`, which `headers` returned.
   * @returns whether `headers` can bring others now: false for a token that a user handed over
   */
  renew(refused: Readonly<Record<string, string>>): boolean;

  /** What to say when Barbican refuses for good what `headers` returned, where more is known than that. */
  refused?(barbican: Place): LuksmithError;

  /** Undefined until `headers` was called, or if nobody has said. */
  speaksFor?(): Identity | undefined;
}
