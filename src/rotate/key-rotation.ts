import { isDeepStrictEqual } from "node:util";
import type { AuditLog } from "../audit/audit-log.js";
import type { Keyslots } from "../encryption/keyslots.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { visible } from "../error/printable.js";
import type { Clock } from "../event/clock.js";
import type { HeaderVault } from "../headers/header-vault.js";
import type { Guest } from "../host/host-adapter.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { generationOf } from "../keystore/replacement.js";
import type { Logger } from "../log/logger.js";
import { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { archiveKey } from "./archive.js";
import { type Found, look } from "./look.js";
import { type Begun, mayComeLate, NewPassphrase } from "./new-passphrase.js";
import { planRotation } from "./plan-rotation.js";
import { RotatedHeader } from "./rotated-header.js";
import {
  ending,
  isUnderWay,
  keyChanged,
  newOwner,
  noting,
  type Owner,
  takingOver,
  underWay,
} from "./rotation-note.js";

/** What becomes of a key: the volume has a new passphrase; an earlier change has ended; an old copy has been mended. */
export type Rotated = "rotated" | "finished" | "adopted";

/** A disk's volume, and where its key is. */
export interface RotationTarget {
  readonly guest: Pick<Guest, "id" | "name">;
  /** Device name. */
  readonly disk: string;
  readonly volume: Volume;
  readonly backend: Pick<StorageBackend, "readHeader" | "changeHeader">;
  readonly uuid: KeyUuid;
  readonly keystore: Keystore;
}

export interface RotationPorts {
  readonly keyslots: Pick<Keyslots, "used" | "add" | "remove" | "find">;
  readonly vault: Pick<HeaderVault, "keep">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds that a replacement whose answer was lost is waited for at least; as long as it has taken, if longer. */
  readonly patience?: number;
}

/**
 * Replaces the passphrase of one key. At every instant, whatever ends it there, the passphrase that the keystore has
 * under the key's UUID opens the volume, or the volume is untouched; whoever begins again finishes, or undoes, first.
 * Whoever calls holds the locks of the guest and of the key. Other hosts are kept off by the note in the key's record: it
 * has its owner's name, everybody writes and destroys only while it is his own, and a younger one of another host is
 * left alone.
 */
export class KeyRotation {
  readonly #owner: Owner = newOwner();
  readonly #header: RotatedHeader;
  /** Of the rotation that this process has begun itself. */
  #replaced: Secret | undefined;

  /**
   * @param settled is called when the keystore has the new passphrase and both open the volume; when it resolves,
   *   nobody on this host opens the volume with the former one any more. What it throws leaves both
   */
  constructor(
    private readonly target: RotationTarget,
    private readonly ports: RotationPorts,
    private readonly settled: () => Promise<void>,
  ) {
    this.#header = new RotatedHeader(target, ports);
  }

  /**
   * @throws ROTATION_REFUSED, KEYSLOT_NOT_FREE, HEADER_BACKUP_FAILED, PASSPHRASE_REJECTED, AUDIT_UNWRITABLE, and what
   *   storage and keystore throw
   */
  async rotate(): Promise<Rotated> {
    this.ports.audit.requireWritable();
    try {
      return (await this.#advance("rotate")) ?? "rotated";
    } finally {
      this.#replaced?.dispose();
    }
  }

  /** @returns undefined if there was nothing to be finished, and nothing was to be begun */
  async #advance(aim: "rotate" | "mend"): Promise<Rotated | undefined> {
    let ended: Rotated = "finished";
    for (;;) {
      using found = await look(this.target, this.ports.keyslots, this.#replaced);
      const step = planRotation(found.facts);
      if (step.kind === "rejected") throw this.#rejected();
      if (await this.#hasTakenOver(found)) continue;
      switch (step.kind) {
        case "undo":
          await this.#undo(found, step.remove);
          break;
        case "adopt":
          ended = "adopted";
          await this.#adopt(found, step.former);
          break;
        case "finish":
          await this.#finish(found, step.remove, ended);
          return ended;
        case "begin":
          if (aim === "mend") return undefined;
          ended = "rotated";
          if ((await this.#begin(found, step.current)) === "finished") return ended;
      }
    }
  }

  /**
   * Makes a rotation that another process has left this one's own; false if it is already, or if there is none.
   * @throws ROTATION_REFUSED while that process may live
   */
  async #hasTakenOver({ key: { record } }: Found): Promise<boolean> {
    const { rotation, uuid } = record;
    if (rotation === undefined || rotation.id === this.#owner.id) return false;
    const now = this.ports.clock.now();
    if (isUnderWay(rotation, this.#owner, now)) throw underWay(uuid, rotation);
    await this.target.keystore.change(this.target.uuid, takingOver(rotation, this.#owner, now));
    return true;
  }

  /** Makes the new passphrase: keystore and volume have it when this returns. */
  async #begin({ key, header }: Found, former: number): Promise<"begun" | "finished"> {
    const { keystore, uuid } = this.target;
    using fresh = Secret.randomPassphrase();
    const { keyslot, pieces } = await this.#header.withKeyslot(header, key, key.passphrase, fresh);
    await this.#header.keep(header);
    await this.#archive(key);
    await this.#record("rotate", "begins");
    const note = { startedAt: this.#now(), keyslot, ...this.#owner };
    const record = await keystore.change(uuid, noting(key.record, note));
    this.#replaced = key.passphrase.use((bytes) => Secret.own(Buffer.from(bytes)));
    const begun = { record, former, replaced: this.#replaced };
    const passphrase = new NewPassphrase(keystore, fresh, this.ports.patience);
    try {
      await this.#header.write(header, pieces);
      await this.#header.requireOpen(fresh, keyslot);
      await passphrase.replace(begun, this.#now());
      return "begun";
    } catch (thrown) {
      return await this.#mend(thrown, passphrase, begun);
    }
  }

  /** After a failure, of which only the keystore can tell what it has left. */
  async #mend(failure: unknown, passphrase: NewPassphrase, begun: Begun): Promise<"finished"> {
    let ended: Rotated | undefined;
    try {
      if (mayComeLate(failure)) await passphrase.waitForIt(begun);
      ended = await this.#advance("mend");
    } catch (thrown) {
      this.#warn(`what it has left could not be cleaned up: ${asLuksmithError(thrown).message}`);
      throw failure;
    }
    if (ended === undefined) throw failure;
    this.#warn(`it has worked in spite of an error: ${asLuksmithError(failure).message}`);
    return "finished";
  }

  async #undo({ key, header }: Found, keyslot: number | undefined): Promise<void> {
    if (keyslot !== undefined) {
      await this.#header.keep(header);
      await this.#header.remove(header, key.passphrase, keyslot, () => this.#requireOwn(key));
    }
    await this.target.keystore.change(this.target.uuid, ending(this.#owner));
  }

  async #finish({ key, header }: Found, keyslot: number | undefined, how: Rotated): Promise<void> {
    await this.settled();
    const { rotation } = key.record;
    if (keyslot !== undefined)
      await this.#header.remove(header, key.passphrase, keyslot, () => this.#requireOwn(key));
    else if (this.ports.keyslots.used(header).includes(rotation?.former ?? -1))
      this.#warn(`keyslot ${String(rotation?.former)} is left: it is none of the former passphrase any more`);
    // before the note goes: whoever finds that records it once more, rather than never
    await this.#record("rotate", keyslot === undefined ? how : `${how}: keyslot ${keyslot} destroyed`);
    await this.target.keystore.change(this.target.uuid, ending(this.#owner));
    // the volume is in order, whatever becomes of the copy
    await this.#header.keep(await this.#header.read()).catch((thrown: unknown) => {
      this.#warn(`no copy of its new header was kept: ${asLuksmithError(thrown).message}`);
    });
  }

  /** Adds the current passphrase with the former one; the next look finishes. */
  async #adopt({ key, header, formers }: Found, former: number): Promise<void> {
    const opener = formers.find((one) => one.keyslot === former);
    if (opener === undefined) throw new Error("a keyslot is opened by one of the former passphrases");
    const { passphrase } = opener;
    const { keyslot, pieces } = await this.#header.withKeyslot(header, key, passphrase, key.passphrase);
    await this.#header.keep(header);
    await this.#record("rotate", "bringing an old copy to the current passphrase begins");
    const note = { startedAt: this.#now(), keyslot, former, ...this.#owner };
    await this.target.keystore.change(this.target.uuid, noting(key.record, note));
    await this.#header.write(header, pieces);
    await this.#header.requireOpen(key.passphrase, keyslot);
    if (key.record.recovery !== undefined && key.record.recovery.length > 0)
      this.#warn("its recovery keyslots are those that the copy has: see luksmith header verify");
  }

  /**
   * Asked at the last instant before a keyslot is destroyed: the passphrase that stays is still the keystore's.
   * @throws ROTATION_REFUSED
   */
  async #requireOwn({ record, passphrase }: Key): Promise<void> {
    const now = await this.target.keystore.fetch(this.target.uuid);
    using secret = now?.passphrase;
    const isSame = secret?.equals(passphrase) === true;
    if (!isSame || !isDeepStrictEqual(now?.record.rotation, record.rotation)) throw keyChanged(record.uuid);
  }

  async #archive(key: Key): Promise<void> {
    const generation = generationOf(key.record);
    await archiveKey(this.target.keystore, key, this.ports.clock.now());
    await this.#record("archive", `passphrase number ${generation}`);
  }

  async #record(event: "rotate" | "archive", detail: string): Promise<void> {
    const { guest, disk, volume, uuid: key, keystore } = this.target;
    const about = { guest, disk, volume: volumeName(volume), key, keystore: keystore.name };
    await this.ports.audit.record({ event, ...about, result: "done", detail });
  }

  #now(): string {
    return this.ports.clock.now().toISOString();
  }

  #warn(text: string): void {
    const { guest, disk, uuid: key } = this.target;
    const message = visible(`disk ${disk} of guest ${guest.name}: ${text}`);
    this.ports.logger.warn(message, { guest: guest.name, disk, key });
  }

  #rejected(): LuksmithError {
    const { volume, uuid } = this.target;
    return new LuksmithError("PASSPHRASE_REJECTED", {
      what: `neither the passphrase of key ${uuid} nor a former one opens ${volumeName(volume)}`,
      why: "its LUKS header is older than the former passphrases that are kept, or somebody has changed it",
      hint: "see the copies of its header: luksmith header list",
    });
  }
}
