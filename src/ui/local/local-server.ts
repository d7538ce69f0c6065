import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { commandLineOf } from "../api/command-line.js";
import { sendLine, sendPage, sendRefusal, sendSession } from "./answers.js";
import { Connections } from "./connections.js";
import type { Engine } from "./engine.js";
import { IdleTimer } from "./idle-timer.js";
import { OneTimeToken } from "./one-time-token.js";
import type { Page } from "./pages.js";
import { fragmentOf, RUN_PATH, SESSION_PATH } from "./protocol.js";
import { readJson } from "./read-json.js";
import { Refused } from "./refused.js";
import { requireJson, requireOwnOrigin } from "./request-guard.js";
import { requireSessionRequest, requireUiRequest } from "./requests.js";
import { Runs } from "./runs.js";
import { noSession, Session } from "./session.js";
import { refusedToken } from "./refused-token.js";

/** Milliseconds. */
export interface Patience {
  /** Until the token is used. */
  readonly token: number;
  /** Without a request of the page, while no command runs. */
  readonly idle: number;
  /** Until a request has come whole. */
  readonly request: number;
}

export interface LocalServerOptions {
  readonly pages: ReadonlyMap<string, Page>;
  readonly engine: Engine;
  /** 0 for any that is free. */
  readonly port: number;
  readonly patience: Patience;
}

/** asked: by `end`. unopened: nobody has used the token. */
export type ServerEnd = "asked" | "idle" | "unopened";

const ADDRESS = "127.0.0.1";
const SESSION_LIMIT = 1024;
/** Bytes: settings have a mebibyte at most, and more around them. */
const RUN_LIMIT = 1.5 * 1024 * 1024;
/** Milliseconds that a browser has to take what was written for it, when the server ends. */
const FAREWELL = 1000;

/** What `luksmith ui` is while it runs: the files of a page, and the two requests of protocol.ts. */
export class LocalServer {
  /** Open it within `patience.token`; it works once. */
  readonly address: string;
  readonly port: number;
  /** Resolves when nothing runs or listens any more. */
  readonly ended: Promise<ServerEnd>;
  readonly #token: OneTimeToken;
  readonly #runs: Runs;
  readonly #connections: Connections;
  #session: Session | undefined;
  #timer: IdleTimer;
  #resolveEnded: (end: ServerEnd) => void = () => undefined;
  #isEnding = false;

  /** @throws a system error where the port is not free */
  static async listen(options: LocalServerOptions): Promise<LocalServer> {
    const { request } = options.patience;
    const server = createServer({
      headersTimeout: request,
      requestTimeout: request,
      connectionsCheckingInterval: request / 4,
    });
    server.listen(options.port, ADDRESS);
    await once(server, "listening");
    return new LocalServer(server, options);
  }

  private constructor(
    private readonly server: Server,
    private readonly options: LocalServerOptions,
  ) {
    this.port = (server.address() as AddressInfo).port;
    const { text, token } = OneTimeToken.make();
    this.#token = token;
    this.address = `http://${ADDRESS}:${this.port}/${fragmentOf(text)}`;
    this.#runs = new Runs(options.engine);
    this.#connections = new Connections(server);
    this.#timer = new IdleTimer(options.patience.token, () => this.end("unopened"));
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    server.on("request", (request, response) => void this.#answer(request, response));
  }

  /** The commands that run now. */
  get running(): readonly string[] {
    return this.#runs.commands;
  }

  /** Starts no further command, and ends when those that run have ended. */
  end(why: ServerEnd = "asked"): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#timer[Symbol.dispose]();
    void this.#runs.close().then(() => {
      this.server.close(() => this.#resolveEnded(why));
      setTimeout(() => this.server.closeAllConnections(), FAREWELL).unref();
    });
  }

  /** Ends at once: what runs is asked to end as well. */
  stop(): void {
    this.end();
    this.#runs.stop();
  }

  /** Never throws. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // whoever leaves before the answer is not missed
    response.on("error", () => undefined);
    try {
      requireOwnOrigin(request, this.port);
      await this.#route(request, response);
    } catch (thrown) {
      if (response.headersSent) response.destroy();
      else sendRefusal(response, thrown instanceof Refused ? thrown : unforeseen());
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    const page = this.options.pages.get(path);
    if (page !== undefined) {
      requireMethod(request, "GET");
      sendPage(response, page);
    } else if (path === SESSION_PATH) {
      requireMethod(request, "POST");
      await this.#openSession(request, response);
    } else if (path === RUN_PATH) {
      requireMethod(request, "POST");
      await this.#run(request, response);
    } else throw new Refused(404, "request", "There is nothing at this address.");
  }

  async #openSession(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requireJson(request);
    const { token } = requireSessionRequest(await readJson(request, SESSION_LIMIT));
    const outcome = this.#token.take(token);
    if (outcome !== "taken") throw refusedToken(outcome);
    this.#timer[Symbol.dispose]();
    this.#timer = new IdleTimer(this.options.patience.idle, () => this.end("idle"));
    this.#session = new Session(this.port);
    this.#connections.keep(request.socket);
    sendSession(response, { key: this.#session.key }, this.#session.cookie);
  }

  async #run(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#session === undefined) throw noSession();
    this.#session.require(request);
    this.#connections.keep(request.socket);
    requireJson(request);
    await this.#timer.during(async () => {
      const command = commandLineOf(requireUiRequest(await readJson(request, RUN_LIMIT)));
      sendLine(response, await this.#runs.run(command, (out) => sendLine(response, { out })));
      response.end();
    });
  }
}

/** @throws Refused */
function requireMethod({ method }: IncomingMessage, allowed: "GET" | "POST"): void {
  if (method === allowed) return;
  throw new Refused(405, "request", `This address answers ${allowed} only.`, { Allow: allowed });
}

/** The server goes on: commands run whose end it waits for. */
function unforeseen(): Refused {
  return new Refused(500, "request", "The server has met an error that it did not foresee.");
}
