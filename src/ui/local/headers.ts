import type { IncomingMessage } from "node:http";
import { Refused } from "./refused.js";

/** On each answer: the page takes nothing from elsewhere, nobody frames or keeps it, and its address goes nowhere. */
export const SECURITY_HEADERS = {
  "Content-Security-Policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-store",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
} as const;

/** The value of a header. @throws Refused where it stands there twice: who reads the first, and who the last, would differ */
export function onlyHeader({ headersDistinct }: IncomingMessage, name: string): string | undefined {
  const [value, ...more] = headersDistinct[name] ?? [];
  if (more.length === 0) return value;
  throw new Refused(400, "request", `The request has the header ${name} more than once.`);
}
