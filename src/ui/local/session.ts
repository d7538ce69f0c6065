import type { IncomingMessage } from "node:http";
import { onlyHeader } from "./headers.js";
import { KEY_HEADER } from "./protocol.js";
import { Refused } from "./refused.js";
import { randomText, SecretDigest } from "./secret-digest.js";

/**
 * The one browser tab that has exchanged the token. It must show two secrets: the cookie, which no script can read, and
 * the key, which no other page can send: cookies alone ignore ports, and any user of this host may serve a page at
 * another port of the same address.
 */
export class Session {
  readonly key = randomText();
  readonly #cookieName: string;
  readonly #cookie = randomText();
  readonly #digests = { key: new SecretDigest(this.key), cookie: new SecretDigest(this.#cookie) };

  /** @param port names the cookie, so that two servers at two ports do not overwrite each other's */
  constructor(port: number) {
    this.#cookieName = `luksmith-${port}`;
  }

  /** For the header Set-Cookie. Without an age: it is gone with the browser, as the server is soon. */
  get cookie(): string {
    return `${this.#cookieName}=${this.#cookie}; HttpOnly; SameSite=Strict; Path=/`;
  }

  /** @throws Refused unless the request shows both secrets */
  require(request: IncomingMessage): void {
    const key = this.#digests.key.matches(onlyHeader(request, KEY_HEADER) ?? "");
    // others at other ports of this address can set one of the same name, which may come first
    const cookie = this.#cookiesOf(request).some((value) => this.#digests.cookie.matches(value));
    if (!key || !cookie) throw noSession();
  }

  #cookiesOf(request: IncomingMessage): string[] {
    const start = `${this.#cookieName}=`;
    const pairs = (onlyHeader(request, "cookie") ?? "").split(";").map((pair) => pair.trim());
    return pairs.filter((pair) => pair.startsWith(start)).map((pair) => pair.slice(start.length));
  }
}

export function noSession(): Refused {
  return new Refused(
    401,
    "session",
    "This tab has no session, or it has ended. Run luksmith ui again and open the address that it prints.",
  );
}
