import type { Container } from "../di.js";
import { requireEncryptedDisks } from "../disk-info/encrypted-disks.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import type { Plan } from "../plan/step.js";
import { resolveRequests } from "../request/resolve.js";
import { HOST, SETTINGS } from "../tokens.js";
import { changeGuest } from "./change.js";
import type { ConversionOptions } from "./conversion-options.js";
import { convertDisks, type DiskGoal } from "./convert-disks.js";
import { open } from "./open.js";

interface Options extends ConversionOptions {
  readonly disk?: readonly string[];
}

/** Gives disks new volume keys: each is copied to a new volume, under a key of its own, as any other conversion does. */
export async function rotateDeep(name: string, options: Options): Promise<void> {
  const container = open();
  await changeGuest(container, {
    command: "rotate",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    work: (nameOrId) => reEncrypt(container, nameOrId, options),
  });
}

async function reEncrypt(container: Container, nameOrId: string, options: Options): Promise<Plan> {
  const guest = await container.resolve(HOST).readGuest(nameOrId);
  const goals = goalsFor(guest, options.disk, container);
  return await convertDisks(container, guest, goals, options);
}

/** As the profile that holds for the disk says today. @throws DISK_NOT_ENCRYPTED, DISK_NOT_FOUND */
function goalsFor(
  guest: ConfiguredGuest,
  wanted: readonly string[] | undefined,
  container: Container,
): DiskGoal[] {
  const settings = container.resolve(SETTINGS);
  const disks = requireEncryptedDisks(guest, { wanted });
  const ask = { source: "luksmith rotate", enabled: true, disks: disks.map(({ dev }) => dev) };
  const requests = resolveRequests({ ...guest, asks: [...guest.asks, ask] }, settings);
  return disks.flatMap((disk) => {
    const request = requests.get(disk.dev);
    const { engine } = settings.encryption;
    return request === undefined ? [] : [{ disk, goal: { to: "encrypted" as const, request, engine } }];
  });
}
