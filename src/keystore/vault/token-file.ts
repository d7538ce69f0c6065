import { LuksmithError } from "../../error/luksmith-error.js";
import type { VaultTokenSettings } from "../../generated/vault-token.js";
import type { Secret } from "../../secret/secret.js";
import type { Budget } from "../remote/budget.js";
import { readCredential } from "../remote/credential-file.js";
import { blankOut } from "./json-bytes.js";
import { type Lease, makeLease } from "./lease.js";
import { asObject, objectOf } from "./vault-client.js";
import type { TokenSource, VaultLine } from "./vault-session.js";

/**
 * A token that somebody else has made and may replace at any time, for example an agent. Whoever is refused reads the
 * file again.
 */
export class TokenFile implements TokenSource {
  readonly logsIn = false;
  readonly hint: string;
  readonly #client: VaultLine;
  readonly #path: string;
  readonly #keystore: string;

  constructor(client: VaultLine, { tokenFile }: VaultTokenSettings, keystore: string) {
    this.#client = client;
    this.#path = tokenFile;
    this.#keystore = keystore;
    this.hint = `write a new token to ${tokenFile} (vault token create -policy=luksmith -period=768h); one that may not look itself up (policy default) looks the same`;
  }

  async obtain(budget: Budget): Promise<Lease> {
    const token = readCredential(this.#path, this.#keystore);
    try {
      // a header takes nothing else
      if (!token.use((bytes) => bytes.every((byte) => byte > 0x20 && byte < 0x7f))) {
        throw this.#unusable();
      }
      return await this.#lookUp(token, budget);
    } catch (thrown) {
      token.dispose();
      throw thrown;
    }
  }

  /** A token that may not look itself up is used as it is: if it is worth nothing, the first request will tell. */
  async #lookUp(token: Secret, budget: Budget): Promise<Lease> {
    const answer = await this.#client.send({ method: "GET", path: "auth/token/lookup-self", token }, budget);
    // it repeats the token
    blankOut(answer.body, token);
    const data = answer.status === 200 ? asObject(objectOf(answer.body)?.["data"]) : undefined;
    answer.body.fill(0);
    const { ttl, creation_ttl: whole, renewable } = data ?? {};
    if (typeof ttl !== "number" || typeof whole !== "number" || ttl <= 0)
      return makeLease(token, Infinity, false);
    const lease = makeLease(token, whole, renewable === true);
    const gone = 1000 * (whole - ttl);
    return { ...lease, half: lease.half - gone, end: lease.end - gone };
  }

  /** The server was not asked, and has refused nothing. */
  #unusable(): LuksmithError {
    return new LuksmithError("KEYSTORE_CREDENTIAL_MISSING", {
      what: `cannot use the token of keystore ${this.#keystore}`,
      why: `${this.#path} has more in it than a token`,
      hint: this.hint,
    });
  }
}
