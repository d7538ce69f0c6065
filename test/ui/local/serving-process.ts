import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { endOnSignals } from "../../../src/ui/local/end-on-signals.js";
import { Engine } from "../../../src/ui/local/engine.js";
import { LocalServer } from "../../../src/ui/local/local-server.js";
import { FAKE_ENGINE, LONG, PAGES } from "./server-parts.js";

/** The one argument of serving-process.ts, as JSON. */
export interface ServingOrder {
  /** Milliseconds that commands have to end when they are asked to; as `luksmith ui` has it without this. */
  readonly patience?: number;
}

/** A process that is the page's server and nothing else, to be sent signals. Prints the server's address. */
async function main({ patience }: ServingOrder): Promise<void> {
  const server = await LocalServer.listen({
    ...{ pages: PAGES, port: 0, engine: new Engine(new ExecaCommandRunner(), FAKE_ENGINE) },
    patience: { token: LONG, idle: LONG, request: LONG },
  });
  endOnSignals(server, patience);
  process.stdout.write(`${server.address}\n`);
  await server.ended;
  process.stdout.write("ended\n");
}

void main(JSON.parse(process.argv[2] ?? "{}") as ServingOrder);
