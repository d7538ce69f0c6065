import type { UiRequest } from "../../../generated/ui-request.js";
import { type Answer, HomeError, type RunOptions, type Transport } from "../../api/transport.js";
import {
  KEY_HEADER,
  type Refusal,
  type RefusalAnswer,
  RUN_PATH,
  type RunLine,
  SESSION_PATH,
  type SessionAnswer,
  tokenIn,
} from "../../local/protocol.js";
import { ByteLines } from "./byte-lines.js";

/** Of a tab: what a browser lends to the transport. */
export interface Tab {
  readonly location: Pick<Location, "hash" | "pathname">;
  readonly history: Pick<History, "replaceState">;
  readonly sessionStorage: Pick<Storage, "getItem" | "setItem">;
  fetch(path: string, request: RequestInit): Promise<Response>;
}

const STORED_KEY = "luksmith-key";

/** The server of `luksmith ui`. Its session begins with the token of the address, and lives in this tab. */
export class LocalTransport implements Transport {
  readonly #session: Promise<string>;

  constructor(private readonly tab: Tab) {
    this.#session = this.#begin();
    // told to whoever runs the first command
    this.#session.catch(() => undefined);
  }

  async run(request: UiRequest, { onLine }: RunOptions = {}): Promise<Answer> {
    const key = await this.#session;
    const response = await this.#post(RUN_PATH, request, { [KEY_HEADER]: key });
    return await readAnswer(response, onLine);
  }

  async #begin(): Promise<string> {
    const token = tokenIn(this.tab.location.hash);
    const stored = this.tab.sessionStorage.getItem(STORED_KEY);
    if (token === undefined) {
      if (stored === null) throw new HomeError("expired", "This tab has no session.");
      return stored;
    }
    // it neither stays in the address line nor comes back with the history
    this.tab.history.replaceState(null, "", this.tab.location.pathname);
    try {
      return await this.#exchange(token);
    } catch (thrown) {
      // the address was opened again in the tab that has used its token
      if (stored !== null && thrown instanceof HomeError && thrown.reason === "expired") return stored;
      throw thrown;
    }
  }

  async #exchange(token: string): Promise<string> {
    const response = await this.#post(SESSION_PATH, { token }, {});
    const { key } = (await response.json()) as SessionAnswer;
    this.tab.sessionStorage.setItem(STORED_KEY, key);
    return key;
  }

  /** @throws HomeError also where the server refuses */
  async #post(path: string, body: object, headers: Record<string, string>): Promise<Response> {
    const response = await this.tab
      .fetch(path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      })
      .catch((cause: unknown) => {
        throw new HomeError("unreachable", "The server of this page does not answer.", { cause });
      });
    if (!response.ok) throw await refused(response);
    return response;
  }
}

async function refused(response: Response): Promise<HomeError> {
  const answer = (await response.json().catch(() => ({}))) as Partial<RefusalAnswer>;
  const message = answer.message ?? `The server answered with HTTP status ${response.status}.`;
  return new HomeError(answer.refusal === undefined ? "broken" : REASONS[answer.refusal], message);
}

const REASONS = {
  token: "expired",
  session: "expired",
  busy: "busy",
  request: "broken",
} satisfies Record<Refusal, HomeError["reason"]>;

async function readAnswer(response: Response, onLine: RunOptions["onLine"]): Promise<Answer> {
  const out: string[] = [];
  const ends: Exclude<RunLine, { out: string }>[] = [];
  const lines = new ByteLines((text) => {
    const line = runLineOf(text);
    if (!("out" in line)) {
      ends.push(line);
      return;
    }
    out.push(`${line.out}\n`);
    onLine?.(line.out);
  });
  await readAll(response, lines);
  const [end] = ends;
  if (end === undefined) throw cutOff();
  if ("failed" in end) throw new HomeError("broken", end.failed);
  return { exitCode: end.exit, stdout: out.join(""), stderr: end.stderr };
}

async function readAll(response: Response, lines: ByteLines): Promise<void> {
  const reader = response.body?.getReader();
  for (;;) {
    const part = await reader?.read().catch((cause: unknown) => {
      throw cutOff({ cause });
    });
    if (part?.value === undefined) break;
    lines.add(part.value);
  }
  lines.end();
}

function runLineOf(text: string): RunLine {
  try {
    return JSON.parse(text) as RunLine;
  } catch (cause) {
    throw cutOff({ cause });
  }
}

function cutOff(options?: ErrorOptions): HomeError {
  const message =
    "The connection was cut before the command ended. It goes on; read again to see what it did.";
  return new HomeError("unreachable", message, options);
}
