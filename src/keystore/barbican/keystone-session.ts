import type { LuksmithError } from "../../error/luksmith-error.js";
import { Secret } from "../../secret/secret.js";
import type { Budget } from "../remote/budget.js";
import { repeating } from "../remote/budget.js";
import {
  badAnswer,
  forbidden,
  isConnectionFailure,
  notAuthenticated,
  quoted,
  unavailable,
} from "../remote/failures.js";
import type { HttpAnswer, HttpClient, HttpRequest } from "../remote/http-client.js";
import type { Identity } from "./barbican-access.js";
import { isObject } from "./keystone-catalog.js";
import {
  type KeystoneSettings,
  loginRequest,
  type LoginSettings,
  refusedCredential,
} from "./keystone-credential.js";

/** A token of one project, and what Keystone says of it. */
export interface Session {
  /** Wiped by whoever ends the session. It is in a header too, which Node takes as a string only: nobody can wipe that. */
  readonly token: Secret;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds that the token lives, from when it was asked for. */
  readonly lifetime: number;
  /** `token.catalog` of the answer. */
  readonly catalog: unknown;
  readonly identity: Identity;
}

/** A token goes into a header as it is. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;
const JSON_TYPE = { "content-type": "application/json", accept: "application/json" };

/**
 * A new token. To ask twice costs nothing but a token that nobody uses.
 * @throws KEYSTORE_AUTH_FAILED, KEYSTORE_FORBIDDEN, KEYSTORE_UNAVAILABLE, KEYSTORE_ANSWER_INVALID,
 *   KEYSTORE_CREDENTIAL_MISSING, PERMISSIONS_UNSAFE
 */
export async function logIn(
  client: HttpClient,
  prefix: string,
  settings: LoginSettings,
  budget: Budget,
): Promise<Session> {
  using body = loginRequest(settings, client.place);
  const path = `${prefix}/auth/tokens`;
  const send = async () => {
    const request = { method: "POST", path, headers: JSON_TYPE, manner: "once" } as const;
    return ask(client, { ...request, body: body.use((bytes) => bytes) }, settings, budget);
  };
  const answer = await repeating(budget, send, isConnectionFailure);
  const token = answer.headers["x-subject-token"];
  if (typeof token !== "string" || !TOKEN.test(token)) throw badAnswer(client.place, "it has no token");
  return sessionOf(client, settings, answer, token);
}

/**
 * The session of a token that a user has handed over, which stays the caller's.
 * @throws as `logIn`
 */
export async function inspectToken(
  client: HttpClient,
  prefix: string,
  token: Secret,
  settings: KeystoneSettings,
  budget: Budget,
): Promise<Session> {
  const text = token.use((bytes) => bytes.toString("latin1"));
  if (!TOKEN.test(text))
    throw refusedCredential(client.place, settings, "it is not one word of printable ASCII");
  const headers = { ...JSON_TYPE, "x-auth-token": text, "x-subject-token": text };
  const send = () =>
    ask(client, { method: "GET", path: `${prefix}/auth/tokens`, headers, manner: "once" }, settings, budget);
  return sessionOf(client, settings, await repeating(budget, send, isConnectionFailure), text);
}

async function ask(
  client: HttpClient,
  request: HttpRequest,
  settings: KeystoneSettings,
  budget: Budget,
): Promise<HttpAnswer> {
  const answer = await client.send(request, budget);
  if (answer.status === 200 || answer.status === 201) return answer;
  throw failureOf(client, settings, answer);
}

function failureOf(
  { place }: HttpClient,
  settings: KeystoneSettings,
  { status, headers, body }: HttpAnswer,
): LuksmithError {
  const said = errorText(body);
  // an address of the web answers 401 and 403 too
  const isKeystone = said !== undefined;
  if (status === 401 && isKeystone) return refusedCredential(place, settings, said);
  // Keystone's way to say that there is no such token or application credential
  if (status === 404 && isKeystone && settings.method !== "password")
    return refusedCredential(place, settings, said);
  if (status === 403 && isKeystone) {
    return forbidden(place, said, "ask the cloud's administrator whether the user may log in, and from here");
  }
  if (status === 429 || status >= 500) return unavailable(place, `it answers ${status}`);
  const target = headers.location;
  if (status > 300 && status < 400) {
    return badAnswer(
      place,
      `it points to ${quoted(target ?? "nowhere")}, where no credentials are sent unasked`,
    );
  }
  return badAnswer(
    place,
    `it answers ${status}, as no Keystone does at keystone.url${said ? `: ${said}` : ""}`,
  );
}

/** `error.message` of Keystone, or undefined where the answer is not Keystone's. */
function errorText(body: Buffer): string | undefined {
  const { error } = parse(body) ?? {};
  return isObject(error) && typeof error["message"] === "string" ? quoted(error["message"]) : undefined;
}

function sessionOf(
  { place }: HttpClient,
  settings: KeystoneSettings,
  { body }: HttpAnswer,
  text: string,
): Session {
  const { token } = parse(body) ?? {};
  if (!isObject(token)) throw badAnswer(place, "it does not say what the token is for");
  const lifetime = Date.parse(String(token["expires_at"])) - Date.parse(String(token["issued_at"]));
  if (!(lifetime >= 0)) throw badAnswer(place, "it does not say how long the token lives");
  const { project, user, roles, catalog } = token;
  if (!isObject(project)) {
    throw notAuthenticated(
      place,
      "the token is not one of a project",
      "get a token for the project of the secrets",
    );
  }
  const names = (Array.isArray(roles) ? roles : []).map((role: unknown) => nameOf(role)).sort();
  return {
    token: Secret.own(Buffer.from(text, "latin1")),
    headers: { "x-auth-token": text },
    lifetime,
    catalog,
    identity: { user: nameOf(user), project: nameOf(project), roles: names },
  };
}

function nameOf(thing: unknown): string {
  return isObject(thing) ? quoted(String(thing["name"])) : "?";
}

function parse(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
