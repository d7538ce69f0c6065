import { setMaxListeners } from "node:events";
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as httpRequest,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { TlsSettings } from "../../generated/keystore-tls.js";
import { type Budget, repeating } from "./budget.js";
import { badAnswer, connectionFailure, isConnectionFailure, type Place, unavailable } from "./failures.js";
import { tlsOptions } from "./tls.js";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "LIST";
  /** Below the client's address, with its query: `/v1/secrets?limit=100`; or a whole URL of the same server. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Stays the caller's, who wipes it. */
  readonly body?: Uint8Array;
  /**
   * Whether it may be sent again when the answer is lost: `repeatable` if doing it twice has the effect of once.
   * GET and LIST are.
   */
  readonly manner?: "once" | "repeatable";
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** At most 4 MiB; may hold a secret, which the caller wipes. */
  readonly body: Buffer;
}

const LIMIT = 4 * 1024 * 1024;
/** Connections at once: a guest's disks are asked for in parallel. */
const CONNECTIONS = 16;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * HTTP to one server over connections that are kept. Follows no redirection: credentials go to the address in the
 * settings and nowhere else. Says nothing about status codes: their meaning is the keystore's.
 */
export class HttpClient {
  readonly place: Place;
  readonly #base: URL;
  /** For requests that may be sent again: connections are kept. */
  readonly #agent: HttpAgent | HttpsAgent;
  /**
   * For requests that may not: a connection each. A server may close a kept connection at the very moment when a
   * request goes out on it, and nobody could tell whether it has been done.
   */
  readonly #freshAgent: HttpAgent | HttpsAgent;

  /**
   * @param name of the keystore, for messages
   * @param server which of the keystore's servers it is, for messages, where there is another one: `Keystone`
   * @throws SETTINGS_INVALID for http to another machine: everybody on the way could read the passphrases
   */
  constructor(name: string, url: string, tls: TlsSettings, server?: string) {
    this.#base = new URL(url);
    const { origin } = this.#base;
    this.place = { name, address: server === undefined ? origin : `${server} at ${origin}` };
    const kept = { keepAlive: true, maxSockets: CONNECTIONS, scheduling: "lifo" } as const;
    const fresh = { keepAlive: false, maxSockets: CONNECTIONS } as const;
    if (this.#base.protocol === "https:") {
      const options = tlsOptions(tls, name);
      this.#agent = new HttpsAgent({ ...kept, ...options });
      this.#freshAgent = new HttpsAgent({ ...fresh, ...options });
      return;
    }
    if (!LOOPBACK.test(this.#base.hostname)) throw plaintext(name, url);
    this.#agent = new HttpAgent(kept);
    this.#freshAgent = new HttpAgent(fresh);
  }

  /**
   * The answer, whatever its status.
   * @throws KEYSTORE_UNAVAILABLE, KEYSTORE_TLS_FAILED, KEYSTORE_ANSWER_INVALID
   */
  async send(request: HttpRequest, budget: Budget): Promise<HttpAnswer> {
    // many requests of one operation listen to one signal
    setMaxListeners(0, budget.signal);
    if (request.manner !== "repeatable" && !/^(GET|LIST)$/.test(request.method))
      return this.#attempt(request, budget, this.#freshAgent);
    return repeating(budget, () => this.#attempt(request, budget, this.#agent), isConnectionFailure);
  }

  async #attempt(request: HttpRequest, budget: Budget, agent: HttpAgent): Promise<HttpAnswer> {
    try {
      const response = await this.#start(request, budget, agent);
      const { statusCode: status = 0, headers } = response;
      return { status, headers, body: await this.#read(response) };
    } catch (thrown) {
      // what is cut off then looks as if the server had closed the connection
      const isLate = budget.signal.aborted && !(thrown instanceof LuksmithError);
      throw connectionFailure(this.place, isLate ? budget.signal.reason : thrown);
    }
  }

  #start(request: HttpRequest, { signal }: Budget, agent: HttpAgent): Promise<IncomingMessage> {
    const { method, path, headers, body } = request;
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    const options = { method, agent, signal, headers: { ...headers, ...length } };
    const url = new URL(path, this.#base);
    if (url.origin !== this.#base.origin)
      throw badAnswer(this.place, `it points to another server, ${url.origin}`);
    return new Promise((resolve, reject) => {
      const start = url.protocol === "https:" ? httpsRequest : httpRequest;
      const sent: ClientRequest = start(url, options, (response) => {
        // what is wrong with the rest of the answer is said of the request
        sent.on("error", (thrown) => response.destroy(thrown));
        resolve(response);
      });
      sent.on("error", reject);
      // Node would drop the connection without another word
      sent.on("upgrade", (_response, socket) => {
        socket.destroy();
        reject(badAnswer(this.place, "it switches to another protocol"));
      });
      // whatever happens, somebody hears of it
      sent.on("close", () => reject(unavailable(this.place, "it closed the connection")));
      sent.end(body);
    });
  }

  async #read(response: IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        length += chunk.length;
        if (length > LIMIT) throw badAnswer(this.place, `it has more than ${LIMIT} bytes`);
      }
      return Buffer.concat(chunks);
    } finally {
      // what came in pieces is here twice
      for (const chunk of chunks) chunk.fill(0);
    }
  }
}

function plaintext(name: string, url: string): LuksmithError {
  return new LuksmithError("SETTINGS_INVALID", {
    what: `keystore ${name} cannot be used without TLS`,
    why: `${url} is another machine, and everybody on the way could read the passphrases`,
    hint: "use its https address",
  });
}
