import { spawn } from "node:child_process";
import { type Tool, toolPath } from "./tools.js";

/**
 * Starts a program that outlives this process, in a session of its own and without any of our descriptors. Nobody
 * learns how it ends. @throws TOOL_MISSING
 */
export function startDetached(tool: Tool, args: readonly string[]): void {
  const env = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  const child = spawn(toolPath(tool), args, { detached: true, stdio: "ignore", cwd: "/", env });
  // a program that cannot be started is not there to tell it
  child.on("error", () => undefined);
  child.unref();
}
