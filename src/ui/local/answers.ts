import type { ServerResponse } from "node:http";
import { SECURITY_HEADERS } from "./headers.js";
import type { Page } from "./pages.js";
import type { RefusalAnswer, RunLine, SessionAnswer } from "./protocol.js";
import type { Refused } from "./refused.js";

export function sendPage(response: ServerResponse, { type, content }: Page): void {
  response.writeHead(200, { ...SECURITY_HEADERS, "Content-Type": type, "Content-Length": content.length });
  response.end(content);
}

export function sendSession(response: ServerResponse, answer: SessionAnswer, cookie: string): void {
  sendJson(response, 200, answer, { "Set-Cookie": cookie });
}

/** A sentence where a browser shows the answer, an object where a script reads it. */
export function sendRefusal(response: ServerResponse, { status, refusal, message, headers }: Refused): void {
  if (response.req.method === "POST") {
    sendJson(response, status, { refusal, message } satisfies RefusalAnswer, headers);
    return;
  }
  const type = { "Content-Type": "text/plain; charset=utf-8" };
  response.writeHead(status, { ...SECURITY_HEADERS, ...type, ...headers });
  response.end(`${message}\n`);
}

/** One line of a command's answer, which begins with the first. Whoever has left hears nothing, and that is no error. */
export function sendLine(response: ServerResponse, line: RunLine): void {
  if (response.destroyed) return;
  if (!response.headersSent)
    response.writeHead(200, { ...SECURITY_HEADERS, "Content-Type": "application/x-ndjson" });
  response.write(`${JSON.stringify(line)}\n`);
}

function sendJson(
  response: ServerResponse,
  status: number,
  value: SessionAnswer | RefusalAnswer,
  headers: Readonly<Record<string, string>>,
): void {
  response.writeHead(status, { ...SECURITY_HEADERS, "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}
