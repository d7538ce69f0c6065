import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EventName } from "../../../src/host/host-adapter.js";
import type { TestGuest } from "./guests.js";
import type { LuksmithHost } from "./luksmith-host.js";

/** How libvirtd would call a hook of ours: argv, and what it would write to its standard input. */
export interface SavedCall {
  readonly argv: readonly string[];
  readonly stdin: string;
}

const OPERATIONS = {
  "pre-start": "prepare begin",
  "post-stop": "release end",
  "pre-migrate": "migrate begin",
};

/** What libvirtd writes to the hook at the guest's start. */
export function savedStart(host: LuksmithHost, guest: TestGuest): Promise<string> {
  return saved(host, "prepare", () =>
    host.libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]),
  );
}

/** What libvirtd writes to the hook of the host that a guest migrates to. */
export function savedArrival(host: LuksmithHost, migrate: () => Promise<unknown>): Promise<string> {
  return saved(host, "migrate", migrate);
}

/** Kept by a foreign hook, which fails, while ours is away. */
async function saved(
  host: LuksmithHost,
  operation: string,
  provoke: () => Promise<unknown>,
): Promise<string> {
  const ours = host.inside("/etc/libvirt/hooks/qemu.d/luksmith");
  const away = host.inside("/etc/libvirt/shim-is-away");
  const foreign = host.inside("/etc/libvirt/hooks/qemu");
  const kept = join(host.libvirt.dir, "stdin");
  await rename(ours, away);
  await writeFile(foreign, `#!/bin/sh\n[ "$2" != ${operation} ] || { cat >${kept}; exit 1; }\n`, {
    mode: 0o755,
  });
  await provoke();
  await rm(foreign);
  await rename(away, ours);
  return await readFile(kept, "utf8");
}

export function hookCall(host: LuksmithHost, event: EventName, guest: TestGuest, stdin: string): SavedCall {
  const script = join(host.pluginRoot, "dist/hooks", `${event}.js`);
  const argv = [process.execPath, script, "libvirt", guest.name, ...OPERATIONS[event].split(" "), "-"];
  return { argv, stdin };
}
