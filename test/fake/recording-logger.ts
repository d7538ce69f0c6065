import type { LogFields, Logger } from "../../src/log/logger.js";

/** Keeps errors, for tests to look at. */
export class RecordingLogger implements Logger {
  readonly errors: { message: string; fields: LogFields }[] = [];

  error(message: string, fields: LogFields = {}): void {
    this.errors.push({ message, fields });
  }

  warn(): void {
    // of no interest
  }

  info(): void {
    // of no interest
  }

  debug(): void {
    // of no interest
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
