import type { IncomingMessage } from "node:http";
import { onlyHeader } from "./headers.js";
import { Refused } from "./refused.js";

/**
 * Lets only requests of our own page through, whatever they ask for: any page in the user's browser can send some here.
 * @throws Refused
 */
export function requireOwnOrigin(request: IncomingMessage, port: number): void {
  const host = `127.0.0.1:${port}`;
  // a name of somebody else's that was made to point here has that name in it (DNS rebinding); and `localhost` may
  // mean ::1, where any user of this host can serve a page at the same port, which then has the same origin
  if (onlyHeader(request, "host") !== host) throw wrongAddress(port);
  const site = onlyHeader(request, "sec-fetch-site");
  // none: the user has typed the address
  if (site !== undefined && site !== "same-origin" && site !== "none") throw foreign();
  const origin = onlyHeader(request, "origin");
  if (origin === undefined ? request.method !== "GET" : origin !== `http://${host}`) throw foreign();
}

/** @throws Refused: other types need no permission to come from other pages */
export function requireJson(request: IncomingMessage): void {
  const type = onlyHeader(request, "content-type") ?? "";
  if (/^application\/json(; ?charset=utf-8)?$/i.test(type)) return;
  throw new Refused(415, "request", "The request is not application/json.");
}

function wrongAddress(port: number): Refused {
  return new Refused(
    421,
    "request",
    `This page is at http://127.0.0.1:${port} only. Through ssh, use this port on both sides: ssh -L ${port}:127.0.0.1:${port} HOST.`,
  );
}

function foreign(): Refused {
  return new Refused(403, "request", "This request comes from another page.");
}
