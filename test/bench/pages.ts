import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import type { UiRequest } from "../../src/generated/ui-request.js";
import { Engine } from "../../src/ui/local/engine.js";
import { LocalServer } from "../../src/ui/local/local-server.js";
import { KEY_HEADER, RUN_PATH, SESSION_PATH, tokenIn } from "../../src/ui/local/protocol.js";
import { interleave } from "./compare.js";
import { programAction } from "./program.js";
import { type Findings, row } from "./row.js";
import type { Stock } from "./stock.js";

/** What the local page adds to the command that it runs. */
const TARGET = 1.25;
const HOUR = 3_600_000;

/** The page's requests, beside the commands that they run. */
export async function benchPages(stock: Stock): Promise<Findings> {
  for (let count = 0; count < 20; count++) await stock.guest("active", 1);
  const luksmith = (...args: readonly string[]) =>
    programAction({ argv: [process.execPath, stock.places.luksmith, ...args] });
  const server = await LocalServer.listen({
    pages: new Map(),
    engine: new Engine(new ExecaCommandRunner(), stock.places.luksmith),
    port: 0,
    patience: { token: HOUR, idle: HOUR, request: HOUR },
  });
  try {
    const ask = await openSession(server);
    const wall = await interleave(
      {
        "the page asks for all guests, 20 guests": { run: () => ask({ command: "status" }) },
        "luksmith status --all --json": luksmith("status", "--all", "--json"),
        "the page asks for the settings": { run: () => ask({ command: "settings-get" }) },
        "luksmith settings get --json": luksmith("settings", "get", "--json"),
      },
      { rounds: 9, seconds: 20 },
    );
    const side = (name: keyof typeof wall) => ({ name, milliseconds: wall[name] });
    return {
      rows: [
        row(side("the page asks for all guests, 20 guests"), side("luksmith status --all --json"), TARGET),
        row(side("the page asks for the settings"), side("luksmith settings get --json"), TARGET),
      ],
      memory: [],
    };
  } finally {
    server.end();
    await server.ended;
  }
}

/** As a page does. */
async function openSession(server: LocalServer): Promise<(request: UiRequest) => Promise<void>> {
  const { origin, hash } = new URL(server.address);
  const headers = { "content-type": "application/json", origin };
  const post = (path: string, body: unknown, more: Readonly<Record<string, string>> = {}) =>
    fetch(origin + path, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });
  const opened = await post(SESSION_PATH, { token: tokenIn(hash) });
  const { key } = (await opened.json()) as { key: string };
  const cookie = opened.headers
    .getSetCookie()
    .map((set) => set.split(";")[0])
    .join("; ");
  return async (request) => {
    const answer = await (await post(RUN_PATH, request, { cookie, [KEY_HEADER]: key })).text();
    if (!answer.endsWith('{"exit":0,"stderr":""}\n'))
      throw new Error(`the page was told: ${answer.slice(-500)}`);
  };
}
