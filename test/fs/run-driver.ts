import { execFile } from "node:child_process";
import { promisify } from "node:util";

/**
 * Runs a driver that `bundle` has made, in a process of its own.
 * @param order its one argument, as JSON
 * @returns what it prints, or `killed`
 */
export async function runDriver(driver: string, order: object): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [driver, JSON.stringify(order)]);
    return stdout.trim();
  } catch (thrown) {
    if (thrown instanceof Error && "signal" in thrown && thrown.signal === "SIGKILL") return "killed";
    throw thrown;
  }
}
