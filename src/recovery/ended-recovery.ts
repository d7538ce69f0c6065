import { shellWord } from "../error/shell-word.js";
import type { Guest } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { guestWord } from "../plan/commands.js";
import { holderOf, recoveryOf } from "./recovery-entry.js";

interface Changed {
  readonly guest: Pick<Guest, "id" | "name">;
  /** Device name. */
  readonly disk: string;
  /** The key that the disk had, and the one that it has. */
  readonly former: KeyUuid | undefined;
  readonly current: KeyUuid | undefined;
}

/**
 * What to tell of a disk that has another key now, whose former one had recovery keyslots: what is on paper, or in escrow
 * files, opens the former volume alone. Undefined where nothing ended. Never throws for what a keystore does.
 */
export async function endedRecovery(
  { guest, disk, former, current }: Changed,
  keyring: Pick<Keyring, "locate">,
): Promise<string | undefined> {
  if (former === undefined || current === undefined || former === current) return undefined;
  const location = await keyring.locate(former);
  if (location.kind !== "found") return undefined;
  location.key.passphrase.dispose();
  const entries = recoveryOf(location.key.record);
  if (entries.length === 0) return undefined;
  const which = entries.map((entry) => `${entry.keyslot} (${holderOf(entry)})`).join(", ");
  const command = `luksmith escrow add ${guestWord(guest)} ${shellWord(disk)}`;
  const how = entries.some(({ kind }) => kind === "passphrase") ? "--passphrase" : "--recipient age1…";
  return `${guest.name}: ${disk} has none of its former recovery keyslots any more: ${which}; for new ones: ${command} ${how}`;
}
