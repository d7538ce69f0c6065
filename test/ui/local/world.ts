import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { type CommandRunner, ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { Engine } from "../../../src/ui/local/engine.js";
import { LocalServer, type Patience } from "../../../src/ui/local/local-server.js";
import { KEY_HEADER, type RunLine, type SessionAnswer, tokenIn } from "../../../src/ui/local/protocol.js";
import { FAKE_ENGINE, LONG, PAGES } from "./server-parts.js";

/** Of the real clock, also in tests that have another one. */
const { setTimeout: later } = globalThis;

const servers: LocalServer[] = [];
const directories: string[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.end();
    await server.ended;
  }
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

/** A path of this test's own. */
export function newPath(name: string): string {
  directories.push(mkdtempSync(join(tmpdir(), "luksmith-ui-")));
  return join(directories.at(-1)!, name);
}

export async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => later(resolve, 5));
}

export async function serve(
  patience: Partial<Patience> = {},
  runner: CommandRunner = new ExecaCommandRunner(),
): Promise<LocalServer> {
  const server = await LocalServer.listen({
    ...{ pages: PAGES, port: 0, engine: new Engine(runner, FAKE_ENGINE) },
    patience: { token: LONG, idle: LONG, request: LONG, ...patience },
  });
  servers.push(server);
  return server;
}

export const originOf = ({ port }: { readonly port: number }) => `http://127.0.0.1:${port}`;
export const tokenOf = ({ address }: { readonly address: string }) => tokenIn(new URL(address).hash)!;

type Headers = Readonly<Record<string, string>>;

/** As the page sends it. */
export async function post(
  server: { readonly port: number },
  path: string,
  value: unknown,
  more: Headers = {},
) {
  return await fetch(originOf(server) + path, {
    method: "POST",
    headers: { "content-type": "application/json", origin: originOf(server), ...more },
    body: typeof value === "string" ? value : JSON.stringify(value),
  });
}

/** Exchanges the token. @returns what each request of the page has from then on */
export async function openSession(server: { readonly port: number; readonly address: string }) {
  const answer = await post(server, "/session", { token: tokenOf(server) });
  const { key } = (await answer.json()) as SessionAnswer;
  const cookie = answer.headers.get("set-cookie")!.split(";")[0]!;
  return { cookie, [KEY_HEADER]: key };
}

export async function linesOf(answer: Response): Promise<RunLine[]> {
  const lines = (await answer.text()).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as RunLine);
}

/** A request that no browser would send. @returns all that comes until the server hangs up */
export async function talk({ port }: { readonly port: number }, ...parts: string[]): Promise<string> {
  const socket = connectTo({ port });
  let answer = "";
  socket.on("data", (data) => (answer += data.toString("latin1")));
  for (const part of parts) socket.write(part);
  await new Promise<void>((done) => socket.once("close", () => done()));
  return answer;
}

export function connectTo({ port }: { readonly port: number }): Socket {
  // a server that hangs up early is what is asked for
  return connect(port, "127.0.0.1").on("error", () => undefined);
}

/**
 * Runs a command, and reads nothing of its answer. @returns closes the connection as a browser does whose tab is closed
 */
export function callAndStay(
  server: { readonly port: number },
  session: Record<string, string>,
  settings: object,
): Promise<() => void> {
  const headers = { ...session, origin: originOf(server), "content-type": "application/json" };
  const call = request(`${originOf(server)}/run`, { method: "POST", headers });
  // it is hung up by ourselves
  call.on("error", () => undefined);
  call.end(JSON.stringify({ command: "settings-preview", settings }));
  return new Promise((resolve) => call.once("response", () => resolve(() => call.destroy())));
}
