import type { ConversionTask } from "../convert/conversion.js";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { printable } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { ConvertOutput } from "../generated/convert.js";
import validate from "../generated/validate-convert.cjs";
import type { Guest } from "../host/host-adapter.js";
import { guestWord } from "../plan/commands.js";
import { endedRecovery } from "../recovery/ended-recovery.js";
import { volumeName } from "../storage/volume.js";
import { HOST, KEYRING } from "../tokens.js";
import { print, printJsonLine } from "./output.js";

interface Options {
  readonly json?: true;
}

/** What the disk is now, and what of it is left. */
export async function tellConverted(
  container: Container,
  { guest, disk, goal }: ConversionTask,
  { json }: Options,
): Promise<void> {
  const after = (await container.resolve(HOST).readGuest(guest.id)).disks.mapping[disk.dev];
  if (after === undefined) return;
  const [old, now] = [volumeName(disk.volume), volumeName(after.volume)];
  if (json) {
    printJsonLine(validate, {
      ...{ event: "finished", guest: guest.name, disk: disk.dev, volume: now },
      ...(old !== now && { oldVolume: old }),
    } satisfies ConvertOutput);
    return;
  }
  const what =
    goal.to === "plain"
      ? "not encrypted any more"
      : `encrypted under key ${after.encryption_secret_uuid ?? ""}`;
  print(`${guest.name}: ${disk.dev} is ${now} now, ${what}`);
  if (old === now) return;
  const keys = { former: disk.encryption_secret_uuid, current: after.encryption_secret_uuid };
  const ended = await endedRecovery({ guest, disk: disk.dev, ...keys }, container.resolve(KEYRING));
  if (ended !== undefined) print(ended);
  const purge = `luksmith purge ${guestWord(guest)} ${shellWord(disk.dev)}`;
  const plain = disk.encrypted ? "" : ", and not encrypted";
  print(`${old} is as it was${plain}; once the guest has run and has all its data: ${purge}`);
}

/** Disks that are what they were to become. */
export function tellUnchanged(
  { name: guest }: Pick<Guest, "name">,
  disks: readonly DiskMapping[],
  what: string,
  { json }: Options,
): void {
  if (disks.length === 0) return;
  const devices = disks.map(({ dev }) => dev);
  if (json) {
    for (const disk of devices)
      printJsonLine(validate, { event: "unchanged", guest, disk, what } satisfies ConvertOutput);
  } else print(`${guest}: ${devices.map(printable).join(", ")} ${what}`);
}
