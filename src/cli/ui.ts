import { Command, InvalidArgumentError } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { UiOutput } from "../generated/ui.js";
import validate from "../generated/validate-ui.cjs";
import { loadManifest } from "../manifest/load.js";
import { endOnSignals } from "../ui/local/end-on-signals.js";
import { Engine } from "../ui/local/engine.js";
import { LocalServer, type LocalServerOptions, type ServerEnd } from "../ui/local/local-server.js";
import { loadPages } from "../ui/local/pages.js";
import { requireRoot } from "./open.js";
import { print, printJsonLine } from "./output.js";

const MINUTE = 60_000;
const TOKEN_MINUTES = 5;
/** Milliseconds until a request must have come whole. */
const REQUEST = 30_000;

interface Options {
  readonly port?: number;
  readonly idleMinutes: number;
  readonly json?: true;
}

export function uiCommand(): Command {
  return new Command("ui")
    .summary("show guests and settings in a browser")
    .description(
      "Serves a page on this host's 127.0.0.1 that shows its guests, protects them and changes the settings, and " +
        "prints the address that opens it, once. Ends with Ctrl-C, or when nobody uses the page.",
    )
    .option("--port <number>", "the same each time; any that is free without it", parsePort)
    .option("--idle-minutes <number>", "end when the page was not used for so long", parseMinutes, 15)
    .option("--json", "for machines")
    .action(ui);
}

async function ui({ port = 0, idleMinutes, json }: Options): Promise<void> {
  requireRoot();
  loadManifest();
  const patience = { token: TOKEN_MINUTES * MINUTE, idle: idleMinutes * MINUTE, request: REQUEST };
  const engine = new Engine(new ExecaCommandRunner());
  const server = await listen({ pages: loadPages(), engine, port, patience });
  endOnSignals(server);
  if (json) {
    const { address, port } = server;
    printJsonLine(validate, { address, port, tokenMinutes: TOKEN_MINUTES, idleMinutes } satisfies UiOutput);
  } else {
    print(`open ${server.address}`);
    print(`it works once, within ${TOKEN_MINUTES} minutes; Ctrl-C ends the page`);
    print(
      `from another computer: ssh -L ${server.port}:127.0.0.1:${server.port} HOST, and open that address there`,
    );
  }
  const end = await server.ended;
  if (!json) print(`the page has ended${WHY[end]}`);
}

/** @throws UI_UNAVAILABLE */
async function listen(options: LocalServerOptions): Promise<LocalServer> {
  try {
    return await LocalServer.listen(options);
  } catch (thrown) {
    const why = systemErrorOf(thrown)?.text;
    if (why === undefined) throw thrown;
    throw new LuksmithError("UI_UNAVAILABLE", {
      what: `cannot serve the page on port ${options.port} of 127.0.0.1`,
      why,
      hint: "name another port, or leave --port out",
      cause: thrown,
    });
  }
}

const WHY = {
  asked: "",
  idle: ": nobody has used it",
  unopened: ": nobody has opened it",
} as const satisfies Record<ServerEnd, string>;

function parsePort(text: string): number {
  if (/^[1-9][0-9]{3,4}$/.test(text) && Number(text) >= 1024 && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError("It must be a number from 1024 to 65535.");
}

function parseMinutes(text: string): number {
  const minutes = /^[0-9]{1,4}(\.[0-9]{1,2})?$/.test(text) ? Number(text) : 0;
  if (minutes > 0 && minutes <= 1440) return minutes;
  throw new InvalidArgumentError("It must be a number of minutes, 1440 at most.");
}
