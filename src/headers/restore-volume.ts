import { recordFailure } from "../audit/recorded.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { conversionCommand } from "../plan/commands.js";
import type { Secret } from "../secret/secret.js";
import { volumeName } from "../storage/volume.js";
import type { HeaderTarget } from "./header-target.js";
import type { HeaderBackup } from "./header-vault.js";
import type { KeyslotPorts } from "./keyslot-ports.js";
import { orDamage } from "./header-state.js";
import { restoreHeader } from "./restore-header.js";

export interface Restored {
  readonly outcome: "restored" | "unchanged";
  /** Where the bytes are that were overwritten; absent for zeros. */
  readonly overwritten?: string;
  /** A former passphrase opens what was written, and the current one does not until a rotation has put it there. */
  readonly opensWith: "current" | "former";
}

/**
 * Writes a copy to the volume that has lost its header: proves first that the key's current passphrase opens the copy, or
 * a former one if the volume does not open with the current one, keeps what it overwrites, and proves afterwards that the
 * volume opens. Never over what is no rest of that header, nor
 * while anybody has the volume open. Whoever calls holds the locks of the guest and of the key, and has seen which
 * guests have the volume.
 * @throws HEADER_BACKUP_INVALID, HEADER_BACKUP_MISSING, HEADER_BACKUP_FAILED, PASSPHRASE_REJECTED, KEY_NOT_FOUND,
 *   LUKS_UUID_MISMATCH, VOLUME_NOT_EMPTY, VOLUME_BUSY, CONVERSION_UNFINISHED, AUDIT_UNWRITABLE: nothing was written
 */
export async function restoreVolume(
  target: HeaderTarget,
  copy: HeaderBackup,
  ports: Omit<KeyslotPorts, "clock">,
): Promise<Restored> {
  const { audit } = ports;
  const { volume, guest, disk } = target;
  const use = {
    event: "header-restore",
    ...(guest && { guest: { id: guest.id, name: guest.name } }),
    ...(disk !== undefined && { disk }),
    volume: volumeName(volume),
    key: copy.uuid,
    detail: `copy of ${copy.takenAt.toISOString()}`,
  } as const;
  audit.requireWritable();
  try {
    await audit.record({ ...use, result: "done", detail: `begins with the ${use.detail}` });
    const done = await restored(target, copy, ports);
    await audit.record({ ...use, result: "done" });
    return done;
  } catch (thrown) {
    await recordFailure(audit, [use], thrown);
    throw thrown;
  }
}

async function restored(
  { volume }: HeaderTarget,
  copy: HeaderBackup,
  { storage, keyring, vault, keyslots }: Omit<KeyslotPorts, "clock">,
): Promise<Restored> {
  const bytes = vault.read(copy);
  const location = await keyring.locate(copy.uuid);
  if (location.kind === "unavailable") throw location.error;
  if (location.kind === "unknown") throw keyAbsent(copy);
  using passphrase = location.key.passphrase;
  refuseConversion(location.key.record, copy);
  const backend = await storage.backendFor(volume);
  let overwritten: string | undefined;
  // not as a copy: it would push out the oldest ones, and the one that is being restored may be that
  const keep = async (now: Buffer): Promise<void> => {
    overwritten = await vault.setAside(copy.uuid, now);
  };
  const opens = async (header: Buffer | LuksmithError, opener: Secret): Promise<boolean> =>
    Buffer.isBuffer(header) && (await keyslots.find(header, opener)) !== undefined;
  const isOfNow =
    (await opens(bytes, passphrase)) ||
    (await opens(await orDamage(() => backend.readHeader(volume)), passphrase));
  const formers = isOfNow ? [] : await keyring.former(copy.uuid);
  try {
    let opener = passphrase;
    for (const former of formers) {
      if (!(await opens(bytes, former.passphrase))) continue;
      opener = former.passphrase;
      break;
    }
    const request = { backend, volume, copy: bytes, origin: copy.path, passphrase: opener, keep };
    const outcome = await restoreHeader(request, keyslots);
    await backend.testPassphrase(volume, opener);
    await vault.keep({ uuid: copy.uuid, volume: volumeName(volume), header: bytes, reason: "changed" });
    const opensWith = opener === passphrase ? "current" : "former";
    return { outcome, opensWith, ...(overwritten !== undefined && { overwritten }) };
  } finally {
    for (const former of formers) former.passphrase.dispose();
  }
}

/** There is no place for a header on a volume that is half plaintext. @throws CONVERSION_UNFINISHED */
function refuseConversion({ guest, disk, conversion }: KeyRecord, { uuid }: HeaderBackup): void {
  if (conversion === undefined) return;
  throw new LuksmithError("CONVERSION_UNFINISHED", {
    what: `cannot restore the LUKS header of key ${uuid}: its volume is being converted in place`,
    why: `that began at ${conversion.startedAt}, and has not ended; where a header lies is data of the guest now`,
    hint: `if it was cut short, it goes on with: ${conversionCommand(guest, disk, conversion.to)}`,
  });
}

function keyAbsent({ uuid, path }: HeaderBackup): LuksmithError {
  return new LuksmithError("KEY_NOT_FOUND", {
    what: `cannot restore the LUKS header of key ${uuid}`,
    why: "no keystore has the key, so nobody can tell whether the copy opens",
    hint: `with a recovery passphrase: luksmith recover VOLUME --header ${path}`,
  });
}
