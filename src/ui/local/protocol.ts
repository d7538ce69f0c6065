/**
 * What the page of `luksmith ui` and its server say to each other; both import this, and nothing of it needs Node.
 *
 * 1. The command prints `http://127.0.0.1:PORT/#token=TOKEN`. A browser sends no fragment: neither a log, nor a proxy, nor
 *    a Referer sees the token.
 * 2. The page takes it from there (`tokenIn`), removes it from the address, and sends it once: `POST /session` with a
 *    SessionRequest. The answer, a SessionAnswer, has a key, which the page keeps in its tab (sessionStorage), and sets a
 *    cookie, which no script can read.
 * 3. `POST /run` with a UiRequest, the key in the header KEY_HEADER, and the cookie, runs one command. The answer is
 *    lines of JSON (RunLine) that come while it runs; the last of them has its end. An answer that stops before it says
 *    nothing of what became of the command, which goes on to its end without the page.
 *
 * Both requests are `application/json`. Whatever is not answered with 200 has a RefusalAnswer.
 */
export const SESSION_PATH = "/session";
export const RUN_PATH = "/run";
/** In lower case, as Node has the names of headers. */
export const KEY_HEADER = "luksmith-key";

export interface SessionRequest {
  readonly token: string;
}

export interface SessionAnswer {
  readonly key: string;
}

export type RunLine =
  /** One line of the command's standard output, without its end. */
  | { readonly out: string }
  /** It has ended; an exit code may be an answer, and standard error is whole. */
  | { readonly exit: number; readonly stderr: string }
  /** It could not be started, or was killed: a sentence. */
  | { readonly failed: string };

/**
 * token: it is wrong, has been used, or is too old (403). session: there is none, or it is another tab's (401). busy: too
 * many commands run (503), or the server is about to end. request: it is not one that a page of ours makes.
 */
export type Refusal = "token" | "session" | "busy" | "request";

export interface RefusalAnswer {
  readonly refusal: Refusal;
  /** A sentence for people. */
  readonly message: string;
}

const TOKEN_FRAGMENT = /^#token=([A-Za-z0-9_-]{43})$/;

/** The token in an address' fragment (`location.hash`). */
export function tokenIn(fragment: string): string | undefined {
  return TOKEN_FRAGMENT.exec(fragment)?.[1];
}

export function fragmentOf(token: string): string {
  return `#token=${token}`;
}
