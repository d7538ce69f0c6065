import { existsSync, readFileSync } from "node:fs";
import { errnoOf } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { missingTool, type Tool } from "../../exec/tools.js";

type ToolPath = (tool: Tool) => string | undefined;

/** Whether the kernel has device-mapper now; cryptsetup has it loaded where it is a module. */
export function hasDeviceMapper(): boolean {
  try {
    return /^ *[0-9]+ device-mapper$/m.test(readFileSync("/proc/misc", "utf8"));
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    return false;
  }
}

const NEEDED: readonly Tool[] = ["cryptsetup", "dmsetup", "flock"];

/** Whether this host can open mappings of dm-crypt: it has the programs, and the kernel has its part or can load it. */
export async function canMap(runner: CommandRunner, toolPath: ToolPath): Promise<boolean> {
  return (await mappingObstacles(runner, toolPath)).length === 0;
}

/** Why it cannot, a clause each; empty where it can. */
export async function mappingObstacles(
  runner: CommandRunner,
  toolPath: ToolPath,
): Promise<readonly string[]> {
  const missing = NEEDED.filter((tool) => toolPath(tool) === undefined);
  if (missing.length > 0) return missing.map(missingTool);
  if (hasDeviceMapper() && existsSync("/sys/module/dm_crypt")) return [];
  if ((await isBuiltIn(runner)) || (await isLoadable(runner, toolPath))) return [];
  return ["this kernel has no dm-crypt and no module of it"];
}

/** A part that is built in is not among the modules. */
async function isBuiltIn(runner: CommandRunner): Promise<boolean> {
  if (!hasDeviceMapper()) return false;
  const { stdout } = await runner.run({ tool: "dmsetup", args: ["targets"] });
  return /^crypt +v/m.test(stdout);
}

async function isLoadable(runner: CommandRunner, toolPath: ToolPath): Promise<boolean> {
  if (toolPath("modprobe") === undefined) return false;
  const args = ["--dry-run", "--quiet", "--", "dm_crypt"];
  // 1: there is no such module for the kernel that runs
  const { exitCode } = await runner.run({ tool: "modprobe", args, answers: [1] });
  return exitCode === 0;
}
