import type { LuksmithError } from "../../error/luksmith-error.js";
import type { VaultAppRoleSettings } from "../../generated/vault-app-role.js";
import type { Budget } from "../remote/budget.js";
import { readCredential } from "../remote/credential-file.js";
import { badAnswer, notAuthenticated } from "../remote/failures.js";
import type { Secret } from "../../secret/secret.js";
import { blankOut, isPlainText } from "./json-bytes.js";
import { type Lease, readLease } from "./lease.js";
import { errorsOf, type VaultAnswer } from "./vault-client.js";
import type { TokenSource, VaultLine } from "./vault-session.js";

/** How the server refuses a login: bad role or secret id, a login that its rules forbid, no such auth method. */
const REFUSALS = new Set([400, 401, 403]);

/** Logs in with a role id and a secret id, as often as a token is needed: the secret id must not wear out. */
export class AppRoleLogin implements TokenSource {
  readonly logsIn = true;
  readonly hint: string;
  readonly #client: VaultLine;
  readonly #settings: VaultAppRoleSettings;
  readonly #keystore: string;

  constructor(client: VaultLine, settings: VaultAppRoleSettings, keystore: string) {
    this.#client = client;
    this.#settings = settings;
    this.#keystore = keystore;
    this.hint = `make a new secret id (vault write -f auth/${this.#mount}/role/ROLE/secret-id), write it to ${settings.secretIdFile}, and compare auth.roleId, auth.mount and namespace in the settings with the server's`;
  }

  async obtain(budget: Budget): Promise<Lease> {
    using secretId = readCredential(this.#settings.secretIdFile, this.#keystore);
    const body = loginBody(this.#settings.roleId, secretId);
    try {
      const path = `auth/${this.#mount}/login`;
      const answer = await this.#client.send({ method: "POST", path, body }, budget);
      if (answer.status === 200) return this.#leaseIn(answer.body);
      throw this.#failure(answer, secretId);
    } finally {
      body.fill(0);
    }
  }

  #failure({ status, body }: VaultAnswer, secretId: Secret): LuksmithError {
    // some releases quote the secret id
    blankOut(body, secretId);
    const said = errorsOf(body) || `login at auth/${this.#mount} failed`;
    body.fill(0);
    const why = `${said} (${status})`;
    return REFUSALS.has(status)
      ? notAuthenticated(this.#client.place, why, this.hint)
      : badAnswer(this.#client.place, why);
  }

  #leaseIn(body: Buffer): Lease {
    const lease = readLease(body);
    if (lease !== undefined) return lease;
    throw badAnswer(this.#client.place, "a login brings no token");
  }

  get #mount(): string {
    return this.#settings.mount ?? "approle";
  }
}

/** The caller wipes it. */
function loginBody(roleId: string, secretId: Secret): Buffer {
  return secretId.use((bytes) => {
    // one that an administrator has chosen may need escapes, for which it has to become a string
    const isPlain = isPlainText(bytes);
    const text = isPlain ? bytes : Buffer.from(JSON.stringify(bytes.toString()).slice(1, -1));
    const body = Buffer.concat([
      Buffer.from(`{"role_id":${JSON.stringify(roleId)},"secret_id":"`),
      text,
      Buffer.from(`"}`),
    ]);
    if (!isPlain) text.fill(0);
    return body;
  });
}
