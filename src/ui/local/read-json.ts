import type { IncomingMessage } from "node:http";
import { Refused } from "./refused.js";

/**
 * The JSON in a request's body. What is too large is read to its end all the same, without being kept, so that the
 * browser is there to hear why: the server's time limit for a request ends that. @throws Refused
 */
export async function readJson(request: IncomingMessage, limit: number): Promise<unknown> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size <= limit) parts.push(part);
    else parts.length = 0;
  }
  if (size > limit) throw new Refused(413, "request", `The request is larger than ${limit} bytes.`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts))) as unknown;
  } catch {
    // the reason would quote the text, which may have secrets in it
    throw new Refused(400, "request", "The request is not JSON.");
  }
}
