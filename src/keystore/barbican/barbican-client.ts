import type { SettingsOf } from "../index.js";
import { type Budget, repeating } from "../remote/budget.js";
import { badAnswer, notAuthenticated, type Place } from "../remote/failures.js";
import { type HttpAnswer, HttpClient, type HttpRequest } from "../remote/http-client.js";
import type { BarbicanAccess } from "./barbican-access.js";
import { type Purpose, refusalOf, serverFailureOf } from "./refusals.js";

export interface BarbicanRequest extends HttpRequest {
  /** Below Barbican's address: `/v1/secrets`. */
  readonly path: string;
  readonly purpose: Purpose;
}

interface Connection {
  readonly endpoint: string;
  readonly http: HttpClient;
  /** Path of Barbican on its server, without a slash at the end. */
  readonly prefix: string;
}

/** Requests to Barbican with whatever `access` gives; an answer that says no is an error that says why. */
export class BarbicanClient {
  readonly #settings: SettingsOf<"barbican">;
  readonly #access: BarbicanAccess;
  #connection: Connection | undefined;

  constructor(settings: SettingsOf<"barbican">, access: BarbicanAccess) {
    this.#settings = settings;
    this.#access = access;
  }

  async place(budget: Budget): Promise<Place> {
    return (await this.#connect(budget)).http.place;
  }

  /**
   * The answer, if its status is 2xx, 404 or 409. What the server failed to answer is asked again where that is safe.
   * @throws KEYSTORE_UNAVAILABLE, KEYSTORE_AUTH_FAILED, KEYSTORE_FORBIDDEN, KEYSTORE_WRITE_FAILED,
   *   KEYSTORE_ANSWER_INVALID, KEYSTORE_TLS_FAILED
   */
  async send(request: BarbicanRequest, budget: Budget): Promise<HttpAnswer> {
    const { http, prefix } = await this.#connect(budget);
    const whole = { ...request, path: `${prefix}${request.path}` };
    const isRepeatable = request.method === "GET" || request.manner === "repeatable";
    // what connections do is the HTTP client's, which has tried again already
    let mayHelp = false;
    const attempt = async () => {
      mayHelp = false;
      const answer = await this.#authenticated(http, whole, budget);
      const failure = serverFailureOf(http.place, answer);
      if (failure === undefined) return answer;
      mayHelp = isRepeatable && failure.passing;
      throw failure.error;
    };
    const answer = await repeating(budget, attempt, () => mayHelp);
    const refusal = refusalOf(http.place, request.purpose, answer, this.#access.speaksFor?.());
    if (refusal !== undefined) throw refusal;
    return answer;
  }

  /** `GET /`, which needs no credentials and tells the versions. @throws KEYSTORE_ANSWER_INVALID if it is no Barbican */
  async discover(budget: Budget): Promise<void> {
    const { http, prefix } = await this.#connect(budget);
    const answer = await http.send({ method: "GET", path: `${prefix}/` }, budget);
    const failure = serverFailureOf(http.place, answer);
    if (failure !== undefined) throw failure.error;
    const { versions } = parseObject(http.place, answer);
    if (versions === undefined) throw badAnswer(http.place, "it tells no versions of the key manager API");
  }

  async #authenticated(http: HttpClient, request: BarbicanRequest, budget: Budget): Promise<HttpAnswer> {
    const headers = await this.#access.headers(budget);
    const answer = await http.send({ ...request, headers: { ...request.headers, ...headers } }, budget);
    if (answer.status !== 401) return answer;
    if (!this.#access.renew(headers)) throw this.#unknown(http.place);
    const renewed = await this.#access.headers(budget);
    const again = await http.send({ ...request, headers: { ...request.headers, ...renewed } }, budget);
    if (again.status === 401) throw this.#unknown(http.place);
    return again;
  }

  #unknown(place: Place): Error {
    return (
      this.#access.refused?.(place) ??
      notAuthenticated(place, "it asks for a token of Keystone", "set keystone in the settings")
    );
  }

  async #connect(budget: Budget): Promise<Connection> {
    const endpoint = await this.#access.endpoint(budget);
    if (this.#connection?.endpoint !== endpoint) {
      const { name, tls } = this.#settings;
      const prefix = new URL(endpoint).pathname.replace(/\/+$/, "");
      this.#connection = { endpoint, http: new HttpClient(name, endpoint, tls), prefix };
    }
    return this.#connection;
  }
}

/** The answer's JSON. @throws KEYSTORE_ANSWER_INVALID if it is no object */
export function parseObject(place: Place, { body }: HttpAnswer): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    throw badAnswer(place, "it is not JSON");
  }
  if (!isObject(value)) throw badAnswer(place, "it is not an object of JSON");
  return value;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
