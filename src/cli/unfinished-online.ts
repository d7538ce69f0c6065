import type { Container } from "../di.js";
import type { ConversionGoal } from "../convert/conversion.js";
import { ConversionNotes } from "../convert/conversion-notes.js";
import { unfinishedDisks } from "../convert/online/unfinished.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { HOST, KEYRING } from "../tokens.js";

/** Device names of disks that the running guest has on new volumes already, of which a killed call has left something. */
export function unfinishedOnline(
  container: Container,
  guest: ConfiguredGuest,
  to: ConversionGoal["to"],
): Promise<ReadonlySet<string>> {
  return unfinishedDisks(guest, to, {
    keyring: container.resolve(KEYRING),
    host: container.resolve(HOST),
    notes: new ConversionNotes(),
  });
}
