import { spawn } from "node:child_process";
import { type Tool, toolPath } from "./tools.js";

/**
 * Starts a program that outlives this process, in a session of its own and without any of our descriptors. Nobody
 * learns how it ends. @param input a few KiB at most: what a pipe takes at once. @throws TOOL_MISSING
 */
export function startDetached(tool: Tool, args: readonly string[], input?: string): void {
  const env = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  const stdin = input === undefined ? "ignore" : "pipe";
  const child = spawn(toolPath(tool), args, {
    detached: true,
    stdio: [stdin, "ignore", "ignore"],
    cwd: "/",
    env,
  });
  // one that has ended already reads nothing
  child.stdin?.on("error", () => undefined).end(input);
  // a program that cannot be started is not there to tell it
  child.on("error", () => undefined);
  child.unref();
}
