import { asLuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Logger } from "../log/logger.js";
import { requireRecipients } from "../keystore/transfer/age.js";
import type { Keyring } from "../keystore/keyring.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { liveKey } from "./live-key.js";
import type { RecoverableDisk } from "./recoverable-disk.js";
import { recoveryOf } from "./recovery-entry.js";
import type { RecoveryKeyslots } from "./recovery-keyslots.js";
import { newPassphraseFor } from "./recovery-passphrases.js";

type Policy = Pick<EffectiveSettings, "profiles">;

/**
 * The recipients who must be able to open a key's volume, and cannot yet; none where the settings want none, or the
 * volume may not be touched now.
 */
export function missingRecipients(record: KeyRecord, { profiles }: Policy): readonly string[] {
  if (record.state !== "active" || record.encryption.format === "plain" || record.conversion !== undefined)
    return [];
  const profile = profiles.find(({ name }) => name === (record.profile ?? "default"));
  const held = new Set(recoveryOf(record).flatMap(({ recipients = [] }) => recipients));
  const wanted = profile?.recovery ?? [];
  return wanted.every((recipient) => held.has(recipient)) ? [] : wanted;
}

/** Who can open a key's volume, and is none whom its profile names, where that names any. */
export function unwantedRecipients(
  record: KeyRecord,
  { profiles }: Policy,
): { readonly keyslot: number; readonly recipients: readonly string[] }[] {
  const wanted = profiles.find(({ name }) => name === (record.profile ?? "default"))?.recovery ?? [];
  if (wanted.length === 0) return [];
  return recoveryOf(record).flatMap(({ keyslot, recipients: held = [] }) => {
    const recipients = held.filter((recipient) => !wanted.includes(recipient));
    return recipients.length === 0 ? [] : [{ keyslot, recipients }];
  });
}

/** Gives disks the recovery keyslots that their profiles want. Never throws: what cannot be done now is a warning. */
export async function followPolicy(
  disks: readonly RecoverableDisk[],
  {
    keyring,
    settings,
    logger,
    recovery,
  }: {
    readonly keyring: Keyring;
    readonly settings: Policy;
    readonly logger: Logger;
    readonly recovery: Pick<RecoveryKeyslots, "add">;
  },
): Promise<void> {
  for (const disk of disks) {
    try {
      const { key } = await liveKey(keyring, disk.uuid);
      key.passphrase.dispose();
      const recipients = missingRecipients(key.record, settings);
      if (recipients.length === 0) continue;
      await requireRecipients(recipients);
      const made = await newPassphraseFor(recipients);
      using passphrase = made.passphrase;
      const { keyslot } = await recovery.add(disk, { ...made, passphrase });
      logger.info(`recovery keyslot ${keyslot} added, as the settings want it`, about(disk));
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      logger.warn("could not add the recovery keyslot that the settings want", { ...about(disk), error });
    }
  }
}

function about({ guest, disk, uuid }: RecoverableDisk) {
  return { guest: guest.name, disk, key: uuid };
}
