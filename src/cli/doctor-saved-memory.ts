import type { Container } from "../di.js";
import { hasEncryptedDisk } from "../disk-info/has-encrypted-disk.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { DoctorOutput } from "../generated/doctor.js";
import { hostShutdown } from "../host/libvirt/suspending-shutdown.js";
import { printable } from "../error/printable.js";
import { COMMAND_RUNNER, HOST, SETTINGS } from "../tokens.js";

type Check = DoctorOutput["checks"][number];

const NAME = "saved memory";

/** Whether the memory of guests with encrypted disks is on a disk in plaintext, or would be after a shutdown of the host. */
export async function checkSavedMemory(container: Container): Promise<Check[]> {
  const { savedMemory } = container.resolve(SETTINGS);
  const result = { allow: "ok", warn: "warning", refuse: "failed" } as const;
  if (container.resolve(HOST).type === "proxmox")
    return checkSaved(await savedGuests(container), result[savedMemory]);
  const { service, action, settings } = await hostShutdown(container.resolve(COMMAND_RUNNER));
  const suspends = service === "on" && action === "suspend";
  const then = savedMemory === "refuse" ? ", and the settings let none with encrypted disks resume" : "";
  const shutdown: Check = suspends
    ? {
        name: NAME,
        result: result[savedMemory],
        detail: `a shutdown of the host writes the memory of running guests to a disk, in plaintext (libvirt-guests)${then}`,
        hint: `set ON_SHUTDOWN=shutdown in ${settings}`,
      }
    : { name: NAME, result: "ok", detail: "a shutdown of the host saves no guest's memory" };
  return [shutdown, ...checkSaved(await savedGuests(container), result[savedMemory])];
}

function checkSaved(saved: readonly string[], result: Check["result"]): Check[] {
  if (saved.length === 0) return [];
  return [
    {
      name: NAME,
      result,
      detail: `the memory of ${saved.join(", ")} is on a disk in plaintext`,
      hint: "luksmith status GUEST says where, and what to do",
    },
  ];
}

async function savedGuests(container: Container): Promise<string[]> {
  const host = container.resolve(HOST);
  const saved: string[] = [];
  for (const { id } of await host.listGuests()) {
    const guest = await host.readGuest(id).catch(notPersistent);
    const isPlain = guest?.saved && host.savesEncrypted?.(guest) !== true;
    if (isPlain && hasEncryptedDisk(guest.disks)) saved.push(printable(guest.name));
  }
  return saved;
}

/** A transient guest, or one that is just gone, has no saved memory. */
function notPersistent(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}
