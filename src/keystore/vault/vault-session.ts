import { LuksmithError } from "../../error/luksmith-error.js";
import type { SettingsOf } from "../index.js";
import { Budget } from "../remote/budget.js";
import { badAnswer, notAuthenticated } from "../remote/failures.js";
import { AppRoleLogin } from "./app-role-login.js";
import { type Lease, postponed, readLease } from "./lease.js";
import { SharedAttempt } from "./shared-attempt.js";
import { TokenFile } from "./token-file.js";
import { errorsOf, type VaultAnswer, type VaultClient, type VaultRequest } from "./vault-client.js";

/** What a session needs of VaultClient. */
export type VaultLine = Pick<VaultClient, "send" | "place">;

/** Where tokens come from. */
export interface TokenSource {
  /** A new token. @throws KEYSTORE_AUTH_FAILED, KEYSTORE_UNAVAILABLE, PERMISSIONS_UNSAFE */
  obtain(budget: Budget): Promise<Lease>;
  /** What to do when the server does not know the token of this source any more. */
  readonly hint: string;
  /** Whether `obtain` logs in: then the server knows the token, and there is always another one. */
  readonly logsIn: boolean;
}

/** How the server says of a token that it does not know it. */
const UNKNOWN = new Set([400, 401, 403]);

/**
 * Requests with a token: one for all operations, renewed when half of its time is over and replaced when it has
 * expired. In memory only; a token in a header is a string, which cannot be wiped.
 */
export class VaultSession {
  readonly #client: VaultLine;
  readonly #source: TokenSource;
  #lease: Lease | undefined;
  /** Operations at the same time share one login or renewal. */
  #pending: SharedAttempt<Lease> | undefined;
  #isRenewing = false;

  constructor(client: VaultLine, { name, auth }: Pick<SettingsOf<"vault">, "name" | "auth">) {
    this.#client = client;
    this.#source =
      auth.method === "approle" ? new AppRoleLogin(client, auth, name) : new TokenFile(client, auth, name);
  }

  /** @throws KEYSTORE_AUTH_FAILED, KEYSTORE_CREDENTIAL_MISSING, PERMISSIONS_UNSAFE; as VaultClient. */
  async send(request: Omit<VaultRequest, "token">, budget: Budget): Promise<VaultAnswer> {
    const lease = await this.authenticate(budget);
    const answer = await this.#client.send({ ...request, token: lease.token }, budget);
    // the server says the same of a token that it does not know and of one that has no such policy
    if (answer.status !== 403 || (await this.#isKnown(lease, budget))) return answer;
    const another = await this.#replace(lease, budget);
    const second = await this.#client.send({ ...request, token: another.token }, budget);
    if (second.status !== 403 || this.#source.logsIn || (await this.#isKnown(another, budget))) return second;
    const why = errorsOf(second.body) || "permission denied";
    throw notAuthenticated(this.#client.place, `${why} (403)`, this.#source.hint);
  }

  /** The token to use now. @throws KEYSTORE_AUTH_FAILED, KEYSTORE_CREDENTIAL_MISSING, PERMISSIONS_UNSAFE */
  async authenticate(budget: Budget): Promise<Lease> {
    // nobody waits for another one's renewal while there is a token: nothing may be awaited after the last look
    while (this.#pending !== undefined && !(this.#isRenewing && isValid(this.#lease))) {
      await this.#pending.join(budget, this.#client.place);
    }
    const lease = this.#lease;
    if (!isValid(lease)) return this.#share(budget, () => this.#source.obtain(budget));
    if (this.#isRenewing || !lease.renewable || performance.now() < lease.half) return lease;
    this.#isRenewing = true;
    return this.#share(budget, () => this.#renew(lease, budget).finally(() => (this.#isRenewing = false)));
  }

  /** Another token than `refused`, which others may have brought meanwhile. */
  async #replace(refused: Lease, budget: Budget): Promise<Lease> {
    while (this.#pending !== undefined) await this.#pending.join(budget, this.#client.place);
    if (this.#lease?.token !== refused.token) return this.authenticate(budget);
    return this.#share(budget, () => this.#source.obtain(budget));
  }

  #share(budget: Budget, make: () => Promise<Lease>): Promise<Lease> {
    // the old token is not wiped: requests that have begun with it may need it once more, and it opens nothing
    const result = make()
      .then((lease) => (this.#lease = lease))
      .finally(() => (this.#pending = undefined));
    this.#pending = new SharedAttempt(result, budget);
    return result;
  }

  /**
   * A token with new time, or another one, or, if neither can be had now, the old one as long as it is valid: then
   * somebody asks again later. The request that waits for it needs the greater part of the time.
   */
  async #renew(lease: Lease, budget: Budget): Promise<Lease> {
    try {
      return await this.#renewed(lease, new Budget(Math.ceil(budget.left / 3)));
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError)) throw thrown;
      return isValid(lease) ? postponed(lease) : this.#source.obtain(budget);
    }
  }

  async #renewed(lease: Lease, budget: Budget): Promise<Lease> {
    const body = Buffer.from("{}");
    const request = { method: "POST", path: "auth/token/renew-self", token: lease.token, body } as const;
    const answer = await this.#client.send(request, budget);
    const renewed = answer.status === 200 ? readLease(answer.body, { token: lease.token }) : undefined;
    answer.body.fill(0);
    const isShort = renewed === undefined || renewed.seconds < lease.seconds / 2;
    if (isShort && this.#source.logsIn) return this.#source.obtain(budget);
    // what cannot be replaced is used to its end, and nobody asks for its renewal again
    return { ...(renewed ?? { ...lease, renewable: false }), seconds: lease.seconds };
  }

  async #isKnown({ token }: Lease, budget: Budget): Promise<boolean> {
    const { status, body } = await this.#client.send(
      { method: "GET", path: "auth/token/lookup-self", token },
      budget,
    );
    // it repeats the token
    body.fill(0);
    if (status === 200) return true;
    if (UNKNOWN.has(status)) return false;
    throw badAnswer(this.#client.place, `status ${status} for auth/token/lookup-self`);
  }
}

function isValid(lease: Lease | undefined): lease is Lease {
  return lease !== undefined && performance.now() < lease.end;
}
