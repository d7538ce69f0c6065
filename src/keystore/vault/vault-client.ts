import { LuksmithError } from "../../error/luksmith-error.js";
import type { SettingsOf } from "../index.js";
import { type Budget, repeating } from "../remote/budget.js";
import { badAnswer, isConnectionFailure, type Place, quoted, unavailable } from "../remote/failures.js";
import { HttpClient } from "../remote/http-client.js";
import type { Secret } from "../../secret/secret.js";

export interface VaultRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below `/v1/`. */
  readonly path: string;
  readonly token?: Secret;
  /**
   * For a write whose second attempt answers otherwise than its first: hears of each attempt of which nobody knows
   * whether it was done.
   */
  readonly lost?: () => void;
  /** Stays the caller's, who wipes it. */
  readonly body?: Uint8Array;
}

/** An answer that the caller must understand: 2xx, or 4xx but 412 and 429 if it is the server's own. */
export interface VaultAnswer {
  readonly status: number;
  /** JSON, or nothing; may hold a secret, which the caller wipes. */
  readonly body: Buffer;
}

/** Answers after which another attempt may go better: lagging nodes, too many requests, a change of the active node. */
const PASSING = new Set([412, 429, 500, 502, 503, 504]);

/** An agent between us and the server may ask for it, so that no web page can make a browser send requests. */
const REQUEST = { "x-vault-request": "true" };

/** The HTTP API of Vault and OpenBao: its headers, and the answers that mean the same for every request. */
export class VaultClient {
  readonly #http: HttpClient;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #path: string;
  /** What a cluster says of its last write: no node may answer from what is older. */
  #index: string | undefined;

  constructor({ name, url, tls, namespace }: SettingsOf<"vault">) {
    this.#http = new HttpClient(name, url, tls);
    // a server behind a path of a reverse proxy
    this.#path = new URL(url).pathname.replace(/\/$/, "");
    this.#headers = namespace === undefined ? {} : { "x-vault-namespace": namespace };
  }

  get place(): Place {
    return this.#http.place;
  }

  /**
   * @throws KEYSTORE_UNAVAILABLE, also for a server that is sealed or sends elsewhere; KEYSTORE_TLS_FAILED;
   *   KEYSTORE_ANSWER_INVALID, also for a refusal that is not the server's, but of a proxy on the way
   */
  async send(request: VaultRequest, budget: Budget): Promise<VaultAnswer> {
    let passing = false;
    const attempt = async () => {
      // where it may be sent again without a word, the connection has been tried again below
      passing = request.lost !== undefined;
      const answer = await this.#attempt(request, budget).catch((thrown: unknown) => {
        request.lost?.();
        throw thrown;
      });
      if (isUnderstood(answer)) return answer;
      passing = PASSING.has(answer.status) && !isSealed(answer);
      if (passing) request.lost?.();
      const failure = this.#failure(answer);
      // it may repeat what it was sent
      answer.body.fill(0);
      throw failure;
    };
    return repeating(budget, attempt, (thrown) => passing && isConnectionFailure(thrown));
  }

  /** The health of the server, which it tells everybody; any status is an answer. */
  async health(budget: Budget): Promise<VaultAnswer> {
    // of the whole server: it has no namespace
    return this.#http.send({ method: "GET", path: `${this.#path}/v1/sys/health`, headers: REQUEST }, budget);
  }

  async #attempt(request: VaultRequest, budget: Budget): Promise<Answer> {
    const { method, path, token, body, lost } = request;
    const manner = lost === undefined ? ("repeatable" as const) : ("once" as const);
    const headers = {
      ...this.#headers,
      ...REQUEST,
      // a header is a string, which cannot be wiped
      ...(token !== undefined && { "x-vault-token": token.use(String) }),
      ...(this.#index !== undefined && { "x-vault-index": this.#index }),
      ...(body !== undefined && { "content-type": "application/json" }),
    };
    const sent = { method, path: `${this.#path}/v1/${path}`, headers, manner, ...(body && { body }) };
    const answer = await this.#http.send(sent, budget);
    const index = answer.headers["x-vault-index"];
    if (method !== "GET" && typeof index === "string") this.#index = index;
    return { ...answer, location: answer.headers.location };
  }

  #failure({ status, body, location }: Answer): LuksmithError {
    const said = errorsOf(body);
    const because = said === "" ? "" : `: ${said}`;
    if (status >= 300 && status < 400) {
      const to = location === undefined ? "elsewhere" : `to ${quoted(location)}`;
      return this.#down(
        `it sends the request ${to} (${status})`,
        "luksmith follows no redirection: use the address of the active node, or let standby nodes forward requests",
      );
    }
    if (isSealed({ status, body })) {
      return this.#down(
        `it is sealed (${status})`,
        "unseal it: vault operator unseal, or bao operator unseal",
      );
    }
    if (status === 412) return unavailable(this.place, "its node lags behind what was written before (412)");
    if (status === 429) return unavailable(this.place, `it has too much to do (429)${because}`);
    if (status >= 500) return unavailable(this.place, `it failed (${status})${because}`);
    return badAnswer(this.place, `status ${status}`);
  }

  #down(why: string, hint: string): LuksmithError {
    return new LuksmithError("KEYSTORE_UNAVAILABLE", {
      what: `keystore ${this.place.name} does not answer`,
      why: `${this.place.address}: ${why}`,
      hint,
    });
  }
}

type Answer = VaultAnswer & { readonly location: string | undefined };

function isSealed({ status, body }: VaultAnswer): boolean {
  return status === 503 && /\bsealed\b/i.test(errorsOf(body));
}

function isUnderstood(answer: VaultAnswer): boolean {
  const { status } = answer;
  if (status >= 200 && status < 300) return true;
  return status >= 400 && status < 500 && !PASSING.has(status) && isOfServer(answer);
}

/**
 * Whether the server itself says no: whoever else answers in its place, an ingress without a backend or a proxy that
 * wants a password, says nothing about us or a key, and must not be taken for a refusal.
 */
function isOfServer({ status, body }: VaultAnswer): boolean {
  const { errors, data } = objectOf(body) ?? {};
  if (status === 404 && asObject(data) !== undefined) return true;
  if (!Array.isArray(errors) || !errors.every((error) => typeof error === "string")) return false;
  // it gives a reason for everything but for what is not there
  return status === 404 || errors.length > 0;
}

/** What the server says of a failure, fit for a message; empty if it says nothing. */
export function errorsOf(body: Buffer): string {
  const { errors } = objectOf(body) ?? {};
  if (!Array.isArray(errors)) return "";
  return quoted(errors.filter((error) => typeof error === "string").join("; "));
}

/** The JSON object that `body` is, else undefined. */
export function objectOf(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)));
  } catch {
    return undefined;
  }
}

export function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
