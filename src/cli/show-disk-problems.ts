import { shellWord } from "../error/shell-word.js";
import { guestWord, separationCommand } from "../plan/commands.js";
import type { GuestStatus } from "../status/verdict.js";
import { print } from "./output.js";

/** What status has to say of single disks below its table. */
export function showDiskProblems(guests: readonly GuestStatus[]): void {
  for (const guest of guests) {
    for (const { device, volume, problem, copyOf, sameVolumeKey } of guest.disks) {
      const name = `${guest.name} ${device}`;
      if (problem !== undefined) {
        print(`\n${guest.name}: ${problem.what}`);
        if (problem.why !== undefined) print(`cause: ${problem.why}`);
        if (problem.hint !== undefined) print(`hint: ${problem.hint}`);
      }
      if (copyOf !== undefined) {
        print(`\n${name} (${volume}) is a copy of ${copyOf}, and one key opens both`);
        print(`hint: while the guest is shut off: ${separationCommand(guest, device)}`);
      } else if (sameVolumeKey !== undefined) {
        print(`\n${name} has the volume key of ${sameVolumeKey.join(", ")}: one was copied from the other`);
        print(`hint: luksmith rotate --deep ${guestWord(guest)} --disk ${shellWord(device)}`);
      }
    }
  }
}
