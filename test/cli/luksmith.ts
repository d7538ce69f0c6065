import { spawnSync, type StdioOptions } from "node:child_process";
import { resolve } from "node:path";

export interface Call {
  readonly stdio?: StdioOptions;
  readonly input?: string;
  /** The command takes itself for another user's than root. */
  readonly as?: "nobody";
}

const AS_NOBODY = ["--import", "data:text/javascript,process.getuid = () => 65534"];

/** How the command line is called from its sources. */
export function commandLine(args: readonly string[]): string[] {
  return [process.execPath, "--import", "tsx", resolve("src/cli/luksmith.ts"), ...args];
}

/** Runs `luksmith ARGS` as a process of its own. */
export function luksmith(args: readonly string[], { as, ...call }: Call = {}) {
  const [node = "", ...rest] = commandLine(args);
  const { status, stdout, stderr } = spawnSync(node, [...(as ? AS_NOBODY : []), ...rest], {
    encoding: "utf8",
    input: "",
    ...call,
  });
  return { status, stdout, stderr };
}
