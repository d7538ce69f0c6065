import { CommanderError } from "commander";
import { asLuksmithError, LuksmithError, renderError } from "../error/luksmith-error.js";
import { EXIT } from "../error/catalogue.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { ErrorOutput } from "../generated/error.js";
import validate from "../generated/validate-error.cjs";
import { printJsonLine } from "./output.js";
import { problemWithFields } from "../error/problem.js";
import { createProgram } from "./program.js";
import { quietX25519 } from "./quiet-x25519.js";

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // whoever read has seen enough (`luksmith status | head`) or is gone: what was begun goes on to its end all the same
  if (error.code === "EPIPE") return;
  const why = systemErrorOf(error)?.text ?? error.message;
  const unwritable = new LuksmithError("OUTPUT_UNWRITABLE", { what: "cannot write the output", why });
  process.stderr.write(`${renderError(unwritable)}\n`);
  process.exit(unwritable.exitCode);
});

// nobody is there to be told
process.stderr.on("error", () => undefined);

quietX25519();

try {
  await createProgram().parseAsync();
} catch (thrown) {
  process.exitCode = report(thrown);
}

/** Says what went wrong on stderr, and on stdout too for who reads JSON there; the exit code. */
function report(thrown: unknown): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.ok;
  const error = thrown instanceof CommanderError ? usageError(thrown) : asLuksmithError(thrown);
  // commander itself has said already what is wrong with the command line
  if (!(thrown instanceof CommanderError)) process.stderr.write(`${renderError(error)}\n`);
  // on one line: it may end an output of many
  if (wantsJson()) printJsonLine(validate, { error: problemWithFields(error) } satisfies ErrorOutput);
  return error.exitCode;
}

function usageError({ code, message }: CommanderError): LuksmithError {
  // the help, which commander prints where a subcommand is missing, has no message
  const what = code === "commander.help" ? "a command is missing" : message.replace(/^error: /, "");
  return new LuksmithError("USAGE", { what });
}

/** Asked of the words themselves: a command line that is wrong has no parsed options. */
function wantsJson(): boolean {
  const words = process.argv.slice(2);
  const end = words.indexOf("--");
  return (end === -1 ? words : words.slice(0, end)).includes("--json");
}
