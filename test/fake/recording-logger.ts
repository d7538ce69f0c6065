import type { LogFields, Logger } from "../../src/log/logger.js";

/** Keeps errors and warnings, for tests to look at. */
export class RecordingLogger implements Logger {
  readonly errors: { message: string; fields: LogFields }[] = [];
  readonly warnings: { message: string; fields: LogFields }[] = [];

  error(message: string, fields: LogFields = {}): void {
    this.errors.push({ message, fields });
  }

  warn(message: string, fields: LogFields = {}): void {
    this.warnings.push({ message, fields });
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
