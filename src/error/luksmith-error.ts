import { visible } from "./printable.js";
import { redact } from "../secret/secret.js";
import { CATALOGUE, type ErrorCode } from "./catalogue.js";

/** What the user reads: each a lowercase clause without a final period. */
export interface ErrorText {
  /** What could not be done, naming the thing: `cannot start guest web1: disk vda holds data`. */
  readonly what: string;
  /** Why, where `what` does not say it already. */
  readonly why?: string;
  /** What to do next, a command where there is one. */
  readonly hint?: string;
  /** Of SETTINGS_INVALID: each thing that is wrong, with its place, for who shows it there. */
  readonly fields?: readonly FieldProblem[];
  /** The error this one was made from; its text goes to the log, not to the user. */
  readonly cause?: unknown;
}

/** What is wrong with one value of a document that was given. */
export interface FieldProblem {
  /** JSON Pointer (RFC 6901) into the document; empty for it as a whole. */
  readonly pointer: string;
  readonly sentence: string;
}

/** The only error class that Luksmith throws on purpose. Never holds a secret. */
export class LuksmithError extends Error {
  override readonly name = "LuksmithError";
  readonly code: ErrorCode;
  readonly why: string | undefined;
  readonly hint: string | undefined;
  readonly fields: readonly FieldProblem[] | undefined;

  constructor(code: ErrorCode, text: ErrorText) {
    super(text.what, { cause: text.cause });
    this.code = code;
    this.why = text.why;
    this.hint = text.hint;
    this.fields = text.fields;
  }

  get exitCode(): number {
    return CATALOGUE[this.code].exit;
  }

  /** The same error seen from the caller's task: `cannot start guest web1: <what>`. All else stays. */
  within(task: string): LuksmithError {
    return new LuksmithError(this.code, {
      what: `${task}: ${this.message}`,
      cause: this,
      ...(this.why === undefined ? {} : { why: this.why }),
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.fields === undefined ? {} : { fields: this.fields }),
    });
  }
}

/** Any thrown value as a LuksmithError; what was not foreseen becomes INTERNAL. */
export function asLuksmithError(thrown: unknown): LuksmithError {
  if (thrown instanceof LuksmithError) return thrown;
  return new LuksmithError("INTERNAL", {
    what: "luksmith met an error that it did not foresee",
    // others' messages quote what they were given
    why: redact(thrown instanceof Error ? thrown.message : String(thrown)),
    hint: "please report it with the log of this event",
    cause: thrown,
  });
}

/** The three lines (at most) that a person reads, without a final newline. */
export function renderError(error: LuksmithError): string {
  const lines = [`error: ${error.message}`];
  if (error.why !== undefined) lines.push(`cause: ${error.why}`);
  if (error.hint !== undefined) lines.push(`hint: ${error.hint}`);
  // names in it come from strangers, and a terminal obeys control characters; a message has line ends of its own
  return lines.join("\n").split("\n").map(visible).join("\n");
}

/** The `code` of a Node system error (`ENOENT`, `ENOSPC`…), else undefined. */
export function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
