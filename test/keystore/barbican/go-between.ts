import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** What a test does to requests, each told as `GET /v1/secrets/ID`. */
export interface Interference {
  /** When Luksmith has asked, and Barbican has not heard of it. */
  readonly before?: (request: string) => Promise<unknown> | undefined;
  /** When Barbican has done it, and Luksmith has not heard of it. */
  readonly after?: (request: string) => Promise<unknown> | undefined;
  /** A status that Luksmith hears in place of Barbican's. */
  readonly status?: (request: string) => number | undefined;
}

export interface GoBetween {
  readonly url: string;
  /** What Luksmith has asked, and when by `performance.now`. */
  readonly asked: { readonly request: string; readonly at: number }[];
}

/** Passes requests on to a real Barbican until the test ends, so that things happen between two of them. */
export async function goBetween(
  target: { readonly port: number },
  { before, after, status }: Interference,
): Promise<GoBetween> {
  const asked: GoBetween["asked"][number][] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = "", url = "", headers } = incoming;
    const request = `${method} ${url}`;
    asked.push({ request, at: performance.now() });
    const pass = async () => {
      const body = Buffer.concat(await incoming.toArray());
      await before?.(request);
      const passed = httpRequest({ port: target.port, host: "127.0.0.1", method, path: url, headers });
      passed.end(body);
      const [answer] = (await once(passed, "response")) as [typeof incoming];
      const text = Buffer.concat(await answer.toArray());
      await after?.(request);
      outgoing.writeHead(status?.(request) ?? answer.statusCode ?? 500, answer.headers).end(text);
    };
    pass().catch(() => outgoing.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}
