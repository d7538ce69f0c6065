import type { LuksmithError } from "../error/luksmith-error.js";

export type LogLevel = "error" | "warn" | "info" | "debug";

/** Facts of a log record, beside its message. No secret: the format redacts, but do not rely on it. */
export interface LogFields {
  readonly guest?: string;
  readonly event?: string;
  readonly cause?: string;
  readonly disk?: string;
  readonly key?: string;
  readonly error?: LuksmithError;
  /** Kinds of the steps that were done. */
  readonly steps?: readonly string[];
  readonly durationMs?: number;
}

/** Where Luksmith says what it does. Never fails and never throws: a log that cannot be written stops no guest. */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** Resolves when every record is written; the last call on a logger. */
  close(): Promise<void>;
}
