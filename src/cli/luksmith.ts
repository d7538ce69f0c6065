import { CommanderError } from "commander";
import { asLuksmithError, renderError } from "../error/luksmith-error.js";
import { EXIT } from "../error/catalogue.js";
import { createProgram } from "./program.js";

// a closed pipe (`luksmith status | head`) is the reader's wish and no error
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT.ok);
});

try {
  await createProgram().parseAsync();
} catch (thrown) {
  process.exitCode = report(thrown);
}

/** Says what went wrong on stderr; the exit code. commander has already said what is wrong with the command line. */
function report(thrown: unknown): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const error = asLuksmithError(thrown);
  process.stderr.write(`${renderError(error)}\n`);
  return error.exitCode;
}
