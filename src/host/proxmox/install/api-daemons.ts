import { existsSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";

/**
 * What loads storage plugins when it starts, and keeps them: pve-manager and pve-ha-manager reload the same for their
 * dpkg trigger pve-api-updates. Their reloads end no task that is under way.
 */
const DAEMONS = ["pvedaemon", "pvestatd", "pveproxy", "pvescheduler", "pve-ha-lrm"] as const;

/** The command that makes Proxmox VE's daemons load the plugins again; none where there is no such daemon. */
export function reloadCommand(root: string): string | undefined {
  const daemons = daemonsOf(root);
  return daemons.length === 0 ? undefined : `systemctl ${argumentsFor(daemons).join(" ")}`;
}

/** Does what `reloadCommand` says; the daemons' names, or undefined if it cannot be done from here. */
export async function reloadDaemons(root: string, runner: CommandRunner): Promise<string | undefined> {
  // of another root, or of one that systemd did not boot, no daemon runs here
  if (root !== "/" || !existsSync("/run/systemd/system")) return undefined;
  const daemons = daemonsOf(root);
  try {
    await runner.run({ tool: "systemctl", args: argumentsFor(daemons), timeout: PATIENCE });
    return daemons.join(", ");
  } catch (thrown) {
    // the modules are in their places, which was the task: the command is left to the administrator
    if (thrown instanceof LuksmithError) return undefined;
    throw thrown;
  }
}

/** pveproxy and pvedaemon wait for requests that are under way. */
const PATIENCE = 60_000;

/** A daemon that does not run is left alone. */
function argumentsFor(daemons: readonly string[]): readonly string[] {
  return ["try-reload-or-restart", ...daemons];
}

/** systemctl refuses names that it does not know, and pve-ha-lrm or pvescheduler may be one. */
function daemonsOf(root: string): readonly string[] {
  const directories = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];
  return DAEMONS.filter((name) =>
    directories.some((directory) => existsSync(join(root, directory, `${name}.service`))),
  );
}
