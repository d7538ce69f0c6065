import type { transport as WinstonTransport, Logger as Winston } from "winston";
import { renderError } from "../error/luksmith-error.js";
import type { LogFields, Logger, LogLevel } from "./logger.js";
import type { LogDestinations } from "./winston-transports.js";

const SEVERITY = { error: 3, warn: 2, info: 1, debug: 0 } as const satisfies Record<LogLevel, number>;

interface Pending {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
  readonly time: string;
}

/**
 * Writes through winston: to a person on stderr, as JSON lines to a file, and to the journal where there is one.
 * winston is loaded by the first record that somebody wants: loading takes nearly as long as starting Node.
 */
export class WinstonLogger implements Logger {
  readonly #destinations: LogDestinations;
  readonly #pending: Pending[] = [];
  #loading: Promise<Winston> | undefined;

  constructor(destinations: LogDestinations) {
    this.#destinations = destinations;
  }

  error(message: string, fields: LogFields = {}): void {
    this.#record("error", message, fields);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#record("warn", message, fields);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#record("info", message, fields);
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#record("debug", message, fields);
  }

  async close(): Promise<void> {
    if (this.#loading === undefined) return;
    const winston = await this.#loading;
    this.#flush(winston);
    const transports = [...winston.transports];
    await new Promise<void>((resolve) => winston.on("finish", resolve).end());
    await Promise.all(transports.map(closed));
  }

  #record(level: LogLevel, message: string, fields: LogFields): void {
    const { fileLevel, humanLevel } = this.#destinations;
    if (SEVERITY[level] < Math.min(SEVERITY[fileLevel], SEVERITY[humanLevel])) return;
    this.#pending.push({ level, message, fields, time: new Date().toISOString() });
    this.#loading ??= import("./winston-transports.js").then(({ createWinston }) =>
      createWinston(this.#destinations),
    );
    void this.#loading.then((winston) => this.#flush(winston));
  }

  #flush(winston: Winston): void {
    for (const { level, message, fields, time } of this.#pending.splice(0)) {
      const { error, ...rest } = fields;
      winston.log({
        level,
        message,
        time,
        ...rest,
        ...(error === undefined
          ? {}
          : {
              code: error.code,
              what: error.message,
              why: error.why,
              hint: error.hint,
              rendered: renderError(error),
            }),
      });
    }
  }
}

/** A transport may go on writing after winston has finished (the journal's does): it tells by `closing`. */
async function closed(transport: WinstonTransport): Promise<void> {
  if ("closing" in transport) await transport.closing;
}
