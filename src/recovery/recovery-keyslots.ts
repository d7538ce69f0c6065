import { applied } from "../encryption/keyslot-pieces.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { KeyRecord } from "../generated/key-record.js";
import { requireOwn } from "../headers/header-in.js";
import type { KeyslotPorts } from "../headers/keyslot-ports.js";
import { writeToHeader } from "../headers/write-header.js";
import type { KeyLocks } from "../keystore/key-locks.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Key } from "../keystore/keystore.js";
import { conversionCommand, guestWord } from "../plan/commands.js";
import { volumeName } from "../storage/volume.js";
import type { EscrowFiles } from "./escrow-files.js";
import { keyslotsIn } from "./keyslot-identity.js";
import { type LiveKey, liveKey } from "./live-key.js";
import type { RecoverableDisk } from "./recoverable-disk.js";
import {
  holderOf,
  type RecoveryEntry,
  recoveryOf,
  type RecoveryPassphrase,
  withEntry,
  withRecovery,
} from "./recovery-entry.js";
import { requireRemovable } from "./removable-keyslot.js";

export interface RecoveryPorts extends KeyslotPorts {
  readonly files: EscrowFiles;
  readonly keyLocks: Pick<KeyLocks, "hold">;
}

/** QEMU tries the keyslots from the first one, and must not come to one that takes seconds. */
const FROM_THE_END = [7, 6, 5, 4, 3, 2, 1, 0];

/**
 * Adds and removes recovery keyslots, under the lock of the key. Whoever calls holds the guest's lock. Killed at any
 * instruction, the key's record and the escrow files name no keyslot that does not open, and the next call takes away
 * what nobody can vouch for.
 */
export class RecoveryKeyslots {
  constructor(private readonly ports: RecoveryPorts) {}

  /**
   * @throws KEYSLOT_NOT_FREE, VOLUME_BUSY (somebody else changes the header), ROTATION_REFUSED and CONVERSION_UNFINISHED
   *   while the header is not yet what it will be, and whatever keeps the key, the volume or the files from being
   *   reached: nothing is added
   */
  async add(disk: RecoverableDisk, recovery: RecoveryPassphrase): Promise<RecoveryEntry> {
    const { holder } = recovery;
    return await this.#change(disk, async (found) => {
      const keyslot = await this.#addKeyslot(disk, found.key, recovery);
      const entry: RecoveryEntry = {
        keyslot,
        kind: holder.kind,
        ...(holder.kind === "recipients" && { recipients: [...holder.recipients] }),
        createdAt: this.ports.clock.now().toISOString(),
      };
      await this.#updateRecord(found, (entries) => withEntry(entries, entry));
      this.ports.files.finish(disk.uuid, {
        keyslot,
        ...(holder.kind === "recipients" && { file: holder.file }),
      });
      return { result: entry, detail: `recovery keyslot ${keyslot} added for ${holderOf(entry)}` };
    });
  }

  /**
   * Destroys a keyslot, the copies of the header that have it, and its escrow file. Idempotent: what an earlier call did
   * not come to is done.
   * @param which `recovery`: one that the key's record names; `unknown`: one that it does not, and that neither the
   *   key's own passphrase nor a former one opens
   * @throws USAGE if it is none of these
   */
  async remove(
    disk: RecoverableDisk,
    keyslot: number,
    which: "recovery" | "unknown" = "recovery",
  ): Promise<void> {
    const { files, vault, keyslots } = this.ports;
    await this.#change(disk, async (found) => {
      const { passphrase } = found.key;
      await requireRemovable(
        { disk, keyslot, which, header: await this.#header(disk) },
        found.key,
        this.ports,
      );
      const header = await this.#header(disk);
      if (keyslotsIn(header).has(keyslot))
        await this.#write(disk, header, (await keyslots.remove(header, { keyslot, passphrase })).pieces);
      const kept = await this.#keepCopy(disk);
      await vault.destroy(
        disk.uuid,
        vault.backups(disk.uuid).filter(({ path }) => path !== kept.path),
      );
      await this.#updateRecord(found, (entries) => entries.filter((entry) => entry.keyslot !== keyslot));
      files.forget(disk.uuid, keyslot);
      return { result: undefined, detail: `${which} keyslot ${keyslot} destroyed` };
    });
  }

  /** Does `work` with the key as its keystore has it, when nothing is left of an earlier call. */
  async #change<T>(
    disk: RecoverableDisk,
    work: (found: LiveKey) => Promise<{ readonly result: T; readonly detail: string }>,
  ): Promise<T> {
    const { audit, keyring, keyLocks } = this.ports;
    const { guest, uuid: key } = disk;
    const about = { event: "escrow", guest, disk: disk.disk, volume: volumeName(disk.volume), key } as const;
    audit.requireWritable();
    return await keyLocks.hold(key, async () => {
      const found = await liveKey(keyring, key);
      using passphrase = found.key.passphrase;
      const live = { ...found, key: { ...found.key, passphrase } };
      const { keystore } = found;
      try {
        refuseRotation(disk, found.key.record);
        refuseConversion(disk, found.key.record);
        await this.#settle(disk, live);
        const { result, detail } = await work(live);
        await audit.record({ ...about, keystore, result: "done", detail });
        return result;
      } catch (thrown) {
        const { code } = asLuksmithError(thrown);
        await audit.record({ ...about, keystore, result: "failed", code });
        throw thrown;
      }
    });
  }

  /** The key is derived before the header is locked for the write: that takes seconds for what people type. */
  async #addKeyslot(
    disk: RecoverableDisk,
    key: Key,
    { passphrase: added, holder }: RecoveryPassphrase,
  ): Promise<number> {
    const { keyslots, files } = this.ports;
    await this.#keepCopy(disk);
    const header = await this.#header(disk);
    const strength = holder.kind === "passphrase" ? "person" : "machine";
    const keyslot = this.#freeKeyslot(header, disk);
    const change = await keyslots.add(header, { passphrase: key.passphrase, added, keyslot, strength });
    const identity = keyslotsIn(applied(header, change.pieces)).get(keyslot);
    if (identity === undefined) throw new Error(`keyslot ${keyslot} was not made`);
    files.begin(disk.uuid, {
      ...{ keyslot, identity },
      ...(holder.kind === "recipients" && { file: holder.file }),
    });
    await this.#write(disk, header, change.pieces);
    if ((await keyslots.find(await this.#header(disk), added, keyslot)) !== keyslot)
      throw notOpening(disk, keyslot);
    await this.#keepCopy(disk);
    return keyslot;
  }

  /** What an earlier call was killed in: what the record has is finished, and any other keyslot is destroyed. */
  async #settle(disk: RecoverableDisk, { key }: LiveKey): Promise<void> {
    const { files, keyslots } = this.ports;
    const { passphrase } = key;
    for (const unfinished of files.unfinished(disk.uuid)) {
      const { keyslot, identity } = unfinished;
      const header = await this.#header(disk);
      const isOurs = keyslotsIn(header).get(keyslot) === identity;
      const isRecorded = recoveryOf(key.record).some((entry) => entry.keyslot === keyslot);
      if (isRecorded && isOurs) {
        files.finish(disk.uuid, unfinished);
        continue;
      }
      if (isOurs)
        await this.#write(disk, header, (await keyslots.remove(header, { keyslot, passphrase })).pieces);
      if (!isRecorded) files.forget(disk.uuid, keyslot);
      else files.finish(disk.uuid, { keyslot });
    }
  }

  #freeKeyslot(header: Buffer, disk: RecoverableDisk): number {
    const used = this.ports.keyslots.used(header);
    const free = FROM_THE_END.find((keyslot) => !used.includes(keyslot));
    if (free !== undefined) return free;
    throw new LuksmithError("KEYSLOT_NOT_FREE", {
      what: `cannot add a recovery keyslot to ${volumeName(disk.volume)}`,
      why: "all of its keyslots are in use",
      hint: "take one away that is not needed: luksmith escrow list, luksmith escrow remove",
    });
  }

  async #updateRecord(
    { keystore, key }: LiveKey,
    change: (entries: readonly RecoveryEntry[]) => RecoveryEntry[],
  ): Promise<void> {
    const has = await this.ports.keyring.get(keystore);
    await has.change(keyUuidOf(key.record), (record) => withRecovery(record, change(recoveryOf(record))));
  }

  async #header(disk: RecoverableDisk): Promise<Buffer> {
    const backend = await this.ports.storage.backendFor(disk.volume);
    return requireOwn(disk, await backend.readHeader(disk.volume));
  }

  async #write(
    disk: RecoverableDisk,
    ...change: [Buffer, Parameters<typeof writeToHeader>[2]]
  ): Promise<void> {
    const backend = await this.ports.storage.backendFor(disk.volume);
    await writeToHeader({ backend, volume: disk.volume }, ...change);
  }

  async #keepCopy(disk: RecoverableDisk) {
    const { uuid, volume } = disk;
    const header = await this.#header(disk);
    return await this.ports.vault.keep({ uuid, volume: volumeName(volume), header, reason: "changed" });
  }
}

/** A keyslot that a killed rotation has made is nobody's yet, and its end destroys one. @throws ROTATION_REFUSED */
function refuseRotation({ guest, disk }: RecoverableDisk, { rotation }: KeyRecord): void {
  if (rotation === undefined) return;
  throw new LuksmithError("ROTATION_REFUSED", {
    what: `cannot change recovery keyslots of disk ${disk} of guest ${guest.name}: its passphrase is being replaced`,
    why: `that began at ${rotation.startedAt}, and has not ended`,
    hint: `let it end first: luksmith rotate ${guestWord(guest)} --disk ${shellWord(disk)}`,
  });
}

/** Its end writes the header that it was begun with, and has no use for one. @throws CONVERSION_UNFINISHED */
function refuseConversion({ guest, disk }: RecoverableDisk, { conversion }: KeyRecord): void {
  if (conversion === undefined) return;
  throw new LuksmithError("CONVERSION_UNFINISHED", {
    what: `cannot change recovery keyslots of disk ${disk} of guest ${guest.name}: it is being converted in place`,
    why: `that began at ${conversion.startedAt}, and has not ended`,
    hint: `let it end first: ${conversionCommand(guest, disk, conversion.to)}`,
  });
}

function notOpening({ volume }: RecoverableDisk, keyslot: number): LuksmithError {
  return new LuksmithError("PASSPHRASE_REJECTED", {
    what: `keyslot ${keyslot} of ${volumeName(volume)} does not open with the passphrase that was just put there`,
    why: "the volume does not keep what is written to it",
    hint: "see its storage; the next luksmith escrow takes the keyslot away",
  });
}
