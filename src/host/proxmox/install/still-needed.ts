import { existsSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import type { InstallPlaces } from "../../install-places.js";

/** The program of the Debian package that tells whether it may go; a tree has it where a build puts it. */
const CHECKS = ["may-be-removed", "dist/share/may-be-removed"] as const;

/**
 * Refuses while this node has encrypted storages or volumes, or that cannot be told: without the plugin no volume can be
 * opened here, and Proxmox VE drops the storages from the whole cluster's configuration.
 * @throws HOOK_IN_USE, TOOL_MISSING
 */
export async function refuseNeeded(
  runner: CommandRunner,
  { root, pluginRoot }: InstallPlaces,
): Promise<void> {
  const check = CHECKS.map((name) => join(pluginRoot, name)).find(existsSync);
  if (check === undefined)
    throw needed(`${join(pluginRoot, CHECKS[1])}, which tells what needs it, is missing`);
  const args = [check, ...(root === "/" ? [] : [root])];
  const { exitCode, stderr } = await runner.run({ tool: "perl", args, answers: [1], timeout: PATIENCE });
  if (exitCode === 0) return;
  const causes = [...stderr.matchAll(/^cause: (.*)$/gm)].map(([, cause]) => cause);
  throw needed(causes.length === 0 ? stderr.trim() : causes.join("; "));
}

/** Each storage may take a third of it. */
const PATIENCE = 60_000;

function needed(why: string): LuksmithError {
  return new LuksmithError("HOOK_IN_USE", {
    what: "cannot take Proxmox VE's storage plugin away",
    why,
    hint: "move the disks to other storage (qm disk move), or delete them, then remove the storage (pvesm remove); to take it away all the same: luksmith uninstall --host proxmox --force",
  });
}
