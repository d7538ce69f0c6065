import { appendFileSync, existsSync } from "node:fs";
import { dirname } from "node:path";
import { createLogger, format, type Logger as Winston, transports } from "winston";
import Transport from "winston-transport";
import { makeDirectory } from "../fs/atomic-file.js";
import { redactDeep } from "./redaction.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { LogLevel } from "./logger.js";

type Info = Record<string | symbol, unknown>;

const JOURNAL_SOCKET = "/run/systemd/journal/socket";
/** syslog(3) priorities, which systemd-cat reads from a `<N>` prefix. */
const PRIORITY: Record<string, number> = { error: 3, warn: 4, info: 6, debug: 7 };
/** Symbol under which logform keeps the finished line. */
const MESSAGE = Symbol.for("message");

export interface LogDestinations {
  /** Absolute path of the JSON lines file, or undefined for none. */
  readonly file: string | undefined;
  readonly fileLevel: LogLevel;
  /** Least severe level that a person sees on stderr. */
  readonly humanLevel: LogLevel;
  /** Starts systemd-cat where the host has a journal. */
  readonly runner: CommandRunner;
}

/** The winston logger with redaction as the first step of its format, so that no transport can be given a secret. */
export function createWinston({ file, fileLevel, humanLevel, runner }: LogDestinations): Winston {
  const winston = createLogger({
    level: "debug",
    format: redaction(),
    transports: [new transports.Stream({ stream: process.stderr, level: humanLevel, format: human() })],
  });
  if (file !== undefined) winston.add(new JsonLinesTransport(file, { level: fileLevel, format: jsonLine() }));
  if (existsSync(JOURNAL_SOCKET)) {
    const send = (lines: string) =>
      runner.run({
        tool: "systemd-cat",
        args: ["--identifier=luksmith", "--level-prefix=true"],
        input: lines,
      });
    winston.add(new JournalTransport(send, { level: fileLevel, format: jsonLine() }));
  }
  return winston;
}

const redaction = format((info) => {
  for (const [key, value] of Object.entries(info)) info[key] = redactDeep(value);
  return info;
});

/** For a person: an error as its three lines, everything else as one. */
function human() {
  return format.printf(({ level, message, rendered }) =>
    typeof rendered === "string" ? rendered : `${level === "warn" ? "warning" : level}: ${String(message)}`,
  );
}

function jsonLine() {
  return format.printf((record) => JSON.stringify({ ...record, rendered: undefined }));
}

/**
 * One O_APPEND write a record: hooks of many guests write to one file at once, and a log rotation needs no signal.
 * Synchronous, so that a record is in the file when the process is killed right after.
 */
class JsonLinesTransport extends Transport {
  readonly #path: string;
  #failed = false;

  constructor(path: string, options: Transport.TransportStreamOptions) {
    super(options);
    this.#path = path;
  }

  override log(info: Info, next: () => void): void {
    try {
      makeDirectory(dirname(this.#path), 0o750);
      appendFileSync(this.#path, `${String(info[MESSAGE])}\n`, { mode: 0o640 });
    } catch (thrown) {
      // a full disk must not stop a guest's start; said once, where a person may see it
      if (!this.#failed)
        process.stderr.write(`warning: cannot write the log ${this.#path}: ${String(thrown)}\n`);
      this.#failed = true;
    }
    next();
  }
}

/** Collects the event's records and hands them to journald when the logger closes. */
class JournalTransport extends Transport {
  readonly #send: (lines: string) => Promise<unknown>;
  readonly #lines: string[] = [];
  closing: Promise<unknown> = Promise.resolve();

  constructor(send: (lines: string) => Promise<unknown>, options: Transport.TransportStreamOptions) {
    super(options);
    this.#send = send;
    this.on("finish", () => {
      if (this.#lines.length > 0) this.closing = this.#send(this.#lines.join("")).catch(() => undefined);
    });
  }

  override log(info: Info, next: () => void): void {
    this.#lines.push(`<${PRIORITY[String(info["level"])] ?? 6}>${String(info[MESSAGE])}\n`);
    next();
  }
}
