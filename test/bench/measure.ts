import { fileURLToPath } from "node:url";
import type { LibvirtHost } from "../lab/libvirt-host.js";
import type { Findings } from "./row.js";

export const SECTIONS = ["hooks", "new disks", "unlocking", "commands"] as const;
export type Section = (typeof SECTIONS)[number];

const INSIDE = fileURLToPath(new URL("inside.ts", import.meta.url));

/**
 * Has a process within the host take the times, so that no nsenter is timed with them.
 * @throws with its standard error if anything that it timed did not work
 */
export async function measure(host: LibvirtHost, section: Section): Promise<Findings> {
  const { exitCode, stdout, stderr } = await host.exec([
    ...[process.execPath, "--import", import.meta.resolve("tsx"), INSIDE],
    ...[section, host.dir],
  ]);
  if (exitCode !== 0) throw new Error(`the bench of ${section} failed: ${stderr}`);
  return JSON.parse(stdout) as Findings;
}
