import { hasEncryptedDisk } from "../disk-info/has-encrypted-disk.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { Logger } from "../log/logger.js";
import type { EffectiveSettings } from "../settings/settings.js";

interface Surroundings {
  readonly settings: Pick<EffectiveSettings, "savedMemory">;
  readonly host: Pick<HostAdapter, "type" | "savedMemory" | "savesEncrypted">;
  readonly logger: Logger;
}

/**
 * Whether a guest may resume from saved memory; one without an encrypted disk may.
 * @throws SAVED_MEMORY_REFUSED; nothing was changed then, and the memory stays where it is
 */
export function refuseSavedMemory(guest: Guest, { settings, host }: Omit<Surroundings, "logger">): void {
  if (settings.savedMemory === "refuse" && isConcerned(guest, host)) throw refusal("resume", guest, host);
}

/** Before saved memory is loaded: refuses as above, warns, or lets it pass. @throws SAVED_MEMORY_REFUSED */
export function applySavedMemoryPolicy(guest: Guest, surroundings: Surroundings): void {
  refuseSavedMemory(guest, surroundings);
  const { settings, host, logger } = surroundings;
  if (settings.savedMemory !== "warn" || !isConcerned(guest, host)) return;
  const path = host.savedMemory(guest);
  const where = path === undefined ? unknownPlace(host).where : printable(path);
  logger.warn(`the guest resumes from memory that lay in plaintext in ${where}`, { guest: guest.name });
}

/** After a stop: nobody is asked before a guest's memory is saved, so that it was is all that can be said. */
export function reportSavedMemory(guest: Guest, { settings, host, logger }: Surroundings): void {
  if (settings.savedMemory === "allow" || !hasEncryptedDisk(guest.disks)) return;
  const path = host.savedMemory(guest);
  if (path === undefined) return;
  const message = `the guest's memory was saved in plaintext to ${printable(path)}`;
  switch (settings.savedMemory) {
    case "warn":
      logger.warn(message, { guest: guest.name });
      return;
    case "refuse":
      logger.error(`${message}, and will not be resumed`, {
        guest: guest.name,
        error: refusal("keep the saved memory of", guest, host),
      });
  }
}

function isConcerned(guest: Guest, host: Surroundings["host"]): boolean {
  return hasEncryptedDisk(guest.disks) && host.savesEncrypted?.(guest) !== true;
}

function refusal(task: string, guest: Guest, host: Surroundings["host"]): LuksmithError {
  const path = host.savedMemory(guest);
  const [what, discard] =
    path === undefined
      ? [`it is in ${unknownPlace(host).where}`, unknownPlace(host).discard(guest)]
      : [
          `it is in ${printable(path)}`,
          `discard it, as a power failure would: ${discardCommand(guest, host)}`,
        ];
  return new LuksmithError("SAVED_MEMORY_REFUSED", {
    what: `cannot ${task} guest ${printable(guest.name)}: its memory was saved in plaintext, and the settings refuse that`,
    why: `${what}; nothing was changed`,
    hint: `${discard}; or allow it: "savedMemory": "warn" in the settings`,
  });
}

/** Of memory that the guest's configuration does not name. */
function unknownPlace({ type }: Surroundings["host"]) {
  switch (type) {
    case "libvirt":
      return {
        where: "a file that somebody named (virsh save)",
        discard: () => "delete that file and start the guest anew",
      };
    case "proxmox":
      return {
        where: "a volume that its configuration does not name any more",
        discard: ({ id }: Guest) => `start it anew: qm unlock ${id}`,
      };
  }
}

function discardCommand({ id }: Guest, { type }: Surroundings["host"]): string {
  switch (type) {
    case "libvirt":
      return `virsh managedsave-remove ${shellWord(id)}`;
    case "proxmox":
      return `qm set ${id} --delete vmstate`;
  }
}
