import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { vi } from "vitest";
import type { LuksmithHost } from "./luksmith-host.js";

/**
 * Waits for processes of the host whose arguments, joined by blanks, match, and ends them with SIGKILL before they do
 * anything more. @throws if none comes
 */
export async function killFirst(host: LuksmithHost, argv: RegExp): Promise<void> {
  const kill = async () => {
    const found = processesOf(host, argv);
    if (found.length === 0) throw new Error(`nobody started ${argv.source}`);
    const { exitCode, stderr } = await host.libvirt.exec(["kill", "-KILL", ...found]);
    // it may have ended meanwhile, and another one come
    if (exitCode !== 0) throw new Error(stderr);
  };
  await vi.waitFor(kill, { timeout: 30_000, interval: 5 });
}

/** As the host numbers them. */
function processesOf(host: LuksmithHost, argv: RegExp): string[] {
  const proc = host.inside("/proc");
  return readdirSync(proc).filter((pid) => /^[0-9]+$/.test(pid) && argv.test(argumentsOf(join(proc, pid))));
}

function argumentsOf(process: string): string {
  try {
    return readFileSync(join(process, "cmdline"), "utf8").replaceAll("\0", " ");
  } catch {
    // it has ended meanwhile
    return "";
  }
}
