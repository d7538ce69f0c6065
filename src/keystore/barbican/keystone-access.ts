import { LuksmithError } from "../../error/luksmith-error.js";
import type { TlsSettings } from "../../generated/keystore-tls.js";
import type { Secret } from "../../secret/secret.js";
import type { KeystoreResources, SettingsOf } from "../index.js";
import type { Budget } from "../remote/budget.js";
import { noAnswer, type Place } from "../remote/failures.js";
import { HttpClient } from "../remote/http-client.js";
import type { BarbicanAccess, Identity } from "./barbican-access.js";
import { findKeyManager, withoutVersion } from "./keystone-catalog.js";
import { type KeystoneSettings, refusedCredential } from "./keystone-credential.js";
import { inspectToken, logIn, type Session } from "./keystone-session.js";

const TRUST =
  "Keystone has just issued it: is keystone.url in the settings the Keystone that this Barbican asks, and was the " +
  "user's password not changed in this very second?";

/**
 * A token from Keystone for every request to Barbican, and Barbican's address from Keystone's catalog. A token is used
 * until shortly before it ends; where Luksmith itself logs in, another one comes then, or when Barbican refuses it.
 */
export class KeystoneAccess implements BarbicanAccess {
  readonly #settings: KeystoneSettings;
  readonly #url: string | undefined;
  readonly #client: HttpClient;
  /** Path of the identity API on its server. */
  readonly #prefix: string;
  readonly #token: Secret | undefined;
  /** Milliseconds before its end at which a token is not used any more: what it opens may take so long. */
  readonly #margin: number;
  #session: (Session & { readonly until: number }) | undefined;
  #login: { readonly session: Promise<Session>; readonly budget: Budget } | undefined;

  /** @throws SETTINGS_INVALID without `keystone` in the settings, or for http to another machine */
  constructor({ name, url, keystone, tls, timeout }: SettingsOf<"barbican">, { token }: KeystoreResources) {
    if (keystone === undefined) throw new Error(`keystore ${name} has no Keystone`);
    this.#settings = keystone;
    this.#url = url;
    this.#client = new HttpClient(name, keystone.url, keystone.tls ?? withoutServerName(tls), "Keystone");
    this.#prefix = identityPath(keystone.url);
    this.#token = token;
    this.#margin = 1000 * timeout;
  }

  async endpoint(budget: Budget): Promise<string> {
    if (this.#url !== undefined) return withoutVersion(this.#url);
    const { catalog } = await this.#current(budget);
    const { interface: face = "public", region } = this.#settings;
    return findKeyManager(catalog, { interface: face, ...(region && { region }) }, this.#client.place);
  }

  async headers(budget: Budget): Promise<Readonly<Record<string, string>>> {
    return (await this.#current(budget)).headers;
  }

  renew(refused: Readonly<Record<string, string>>): boolean {
    if (this.#settings.method === "token") return false;
    // of many that are refused at once the first ends the session, and the others find another one
    if (this.#session?.headers["x-auth-token"] === refused["x-auth-token"]) this.#end();
    return true;
  }

  refused(barbican: Place): LuksmithError {
    // Keystone itself has just accepted a password or an application credential
    return refusedCredential(
      barbican,
      this.#settings,
      "it refuses the token (401)",
      this.#settings.method === "token" ? undefined : TRUST,
    );
  }

  speaksFor(): Identity | undefined {
    return this.#session?.identity;
  }

  async #current(budget: Budget): Promise<Session> {
    if (this.#session !== undefined && performance.now() < this.#session.until) return this.#session;
    this.#end();
    const running = this.#login;
    if (running === undefined) return this.#begin(budget);
    try {
      return await inTime(running.session, budget, this.#client);
    } catch (thrown) {
      // the time of the one who has begun is over, and ours is not
      if (running.budget.signal.aborted && !budget.signal.aborted) return this.#current(budget);
      throw thrown;
    }
  }

  #begin(budget: Budget): Promise<Session> {
    const session = this.#start(budget).finally(() => (this.#login = undefined));
    this.#login = { session, budget };
    return session;
  }

  async #start(budget: Budget): Promise<Session> {
    const asked = performance.now();
    const session = await this.#logIn(budget);
    const margin = Math.min(this.#margin, session.lifetime / 2);
    const lifetime = this.#settings.method === "token" ? Infinity : session.lifetime - margin;
    this.#session = { ...session, until: asked + lifetime };
    return session;
  }

  #logIn(budget: Budget): Promise<Session> {
    if (this.#settings.method !== "token") return logIn(this.#client, this.#prefix, this.#settings, budget);
    if (this.#token === undefined) throw noToken(this.#client.place.name);
    return inspectToken(this.#client, this.#prefix, this.#token, this.#settings, budget);
  }

  #end(): void {
    this.#session?.token.dispose();
    this.#session = undefined;
  }
}

/** The name that Barbican's certificate must have is not Keystone's. */
function withoutServerName(tls: TlsSettings): TlsSettings {
  const shared = { ...tls };
  delete shared.serverName;
  return shared;
}

/** `https://cloud.example/identity/` and `https://cloud.example/identity/v3` are the same. */
function identityPath(url: string): string {
  const path = new URL(url).pathname.replace(/\/+$/, "");
  return /\/v3$/.test(path) ? path : `${path}/v3`;
}

/** One who waits for somebody else's request has a time limit of its own. */
async function inTime<T>(shared: Promise<T>, { signal }: Budget, { place }: HttpClient): Promise<T> {
  const waiting = new AbortController();
  const late = new Promise<never>((_, reject) => {
    const giveUp = () => reject(noAnswer(place, "it did not answer in time"));
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { signal: waiting.signal });
  });
  try {
    return await Promise.race([shared, late]);
  } finally {
    waiting.abort();
  }
}

function noToken(name: string): LuksmithError {
  return new LuksmithError("KEYSTORE_AUTH_FAILED", {
    what: `keystore ${name} needs the token of a user`,
    why: "its settings have the method token, and no token was handed over",
    hint:
      "luksmith --token-file PATH hands one over for one command; a hook has none: for the disks of guests that the " +
      "host starts, use an application credential of the host",
  });
}
