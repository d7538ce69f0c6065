import { join } from "node:path";
import { asLuksmithError, type LuksmithError } from "../../error/luksmith-error.js";
import { EXIT } from "../../error/catalogue.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { PLUGIN_ROOT } from "../../manifest/load.js";
import type { CommandLine } from "../api/command-line.js";
import { Lines } from "../api/lines.js";
import type { RunLine } from "./protocol.js";

/** How a command has ended: the last line of an answer. */
export type Ending = Exclude<RunLine, { readonly out: string }>;

/** Runs commands as an administrator would, each in a process of its own. */
export class Engine {
  constructor(
    private readonly runner: CommandRunner,
    private readonly script = join(PLUGIN_ROOT, "dist/cli/luksmith.js"),
  ) {}

  /**
   * Never throws. Its time is not limited: a conversion takes as long as it takes.
   * @param onLine hears lines as they come @param end aborted, it ends the command before its time
   */
  async run({ args, input }: CommandLine, onLine: (line: string) => void, end: AbortSignal): Promise<Ending> {
    const lines = new Lines(onLine);
    try {
      const { exitCode, stderr } = await this.runner.run({
        tool: "node",
        args: [this.script, ...args],
        // Ctrl-C, and the end of a terminal, reach all processes of ours otherwise
        session: { end },
        ...(input === undefined ? {} : { input }),
        env: userOf(process.env),
        // the page reads what an exit code means
        answers: Object.values(EXIT),
        timeout: 0,
        onOutput: (text) => lines.add(text),
      });
      lines.end();
      return { exit: exitCode, stderr };
    } catch (thrown) {
      lines.end();
      return { failed: failureOf(asLuksmithError(thrown)) };
    }
  }
}

/** It has been started where it has failed in a way of its own, and what it has said to the end is no reason. */
function failureOf({ code, message, why = "" }: LuksmithError): string {
  if (code !== "TOOL_FAILED") return `The command could not be run: ${message}, ${why}.`;
  return "The command was stopped before its end. See what it has done before you run it again.";
}

/** Whom the audit log names, on a host whose kernel does not know who logged in. */
function userOf({ SUDO_UID }: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  return SUDO_UID === undefined ? {} : { SUDO_UID };
}
