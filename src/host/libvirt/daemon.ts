import { existsSync } from "node:fs";
import { join } from "node:path";

/**
 * What makes the QEMU daemon look for hooks again. It remembers from its start or last reload only whether there is
 * any hook of QEMU; which ones there are and what is in them it reads each time. Guests and secrets survive a reload.
 */
export function reloadCommand(root: string): string {
  // libvirt's clients decide so between the modular daemons and the monolithic one
  const daemon = existsSync(join(root, "run/libvirt/virtqemud-sock")) ? "virtqemud" : "libvirtd";
  // sd_booted(3)
  const systemd = existsSync(join(root, "run/systemd/system"));
  return systemd ? `systemctl try-reload-or-restart ${daemon}` : `kill -HUP $(cat /run/${daemon}.pid)`;
}
