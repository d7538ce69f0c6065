import type { CommandLine } from "../api/command-line.js";
import type { Ending, Engine } from "./engine.js";
import { Refused } from "./refused.js";

/** Commands at once. Each reads its guests and keystores anew: more than a person asks for harm the host. */
const MOST = 8;

/** The commands that run now, whether anybody still waits for their answers or not. */
export class Runs {
  readonly #running = new Map<Promise<Ending>, CommandLine>();
  readonly #end = new AbortController();
  #isClosed = false;

  constructor(private readonly engine: Engine) {}

  /** As an administrator would type them; their arguments are public on the host. */
  get commands(): string[] {
    return [...this.#running.values()].map(({ args }) => `luksmith ${args.join(" ")}`);
  }

  /** Starts it and resolves when it has ended, whoever has left by then. @throws Refused */
  async run(command: CommandLine, onLine: (line: string) => void): Promise<Ending> {
    if (this.#isClosed) throw busy("The server ends, and starts nothing more.");
    if (this.#running.size >= MOST) throw busy(`${MOST} commands run already. Wait until one has ended.`);
    const run = this.engine.run(command, onLine, this.#end.signal);
    this.#running.set(run, command);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
    }
  }

  /** Starts nothing more; resolves when all have ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#running.keys());
  }

  /** Asks all that run to end before their time. */
  stop(): void {
    this.#end.abort();
  }
}

function busy(message: string): Refused {
  return new Refused(503, "busy", message, { "Retry-After": "5" });
}
