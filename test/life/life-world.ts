import { claimedLuksUuid } from "../../src/encryption/luks-header.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { recoveryOf } from "../../src/recovery/recovery-entry.js";
import { type ImageFormat, qemuIo } from "../storage/workshop.js";
import { GUEST_ID } from "../fake/fake-xml-host.js";
import type { Life } from "./life.js";
import { CONVERTED, LifeOperations, type Operation } from "./life-operations.js";
import { LifePlace, SIZE } from "./life-place.js";

/** A guest with one disk, what is done to it, and what must be true of it all the time. */
export class LifeWorld implements Disposable {
  readonly place: LifePlace;
  /** What was begun, and has not ended, in the order in which it began. */
  readonly unfinished = new Set<Operation>();
  readonly #operations: LifeOperations;
  /** SHA-256 of what the guest has on its disk. */
  #content: string;
  #writes = 0;

  constructor(format: ImageFormat) {
    this.place = new LifePlace(format);
    this.#operations = new LifeOperations(this.place);
    this.#content = this.place.firstContent;
  }

  [Symbol.dispose](): void {
    this.#operations[Symbol.dispose]();
    this.place[Symbol.dispose]();
  }

  /** What can be asked of the disk as it is; also while something else is unfinished. */
  async possible(): Promise<Operation[]> {
    const { encryption_secret_uuid: uuid } = await this.place.disk();
    const raw = this.place.format === "raw";
    const purge = this.place.notes.of({ id: GUEST_ID }).length > 0 ? (["purge"] as const) : [];
    if (uuid === undefined) return ["encrypt", ...purge, ...(raw ? (["encrypt in place"] as const) : [])];
    const record = await this.place.record(uuid);
    const removable = record !== undefined && recoveryOf(record).length > 0;
    const former = await this.place.keystore.find({ state: "archived" });
    return [
      ...(["decrypt", "rotate", "rotate deep", "back up the header", "add escrow", "grow"] as const),
      ...purge,
      ...(removable ? (["remove escrow"] as const) : []),
      ...(former.length > 0 ? (["reap former passphrases"] as const) : []),
      ...(raw ? (["decrypt in place"] as const) : []),
      ...(this.place.vault.backups(uuid).length > 0 ? (["restore the header"] as const) : []),
      // what is copied is in order: what an earlier command has left comes first
      ...(this.unfinished.size === 0 ? (["separate"] as const) : []),
    ];
  }

  /** Does it, or goes on with it. */
  async perform(operation: Operation, life: Life): Promise<void> {
    const isNew = !this.unfinished.has(operation);
    this.unfinished.add(operation);
    const how = isNew && this.unfinished.size === 1 ? "damaged" : undefined;
    await this.#operations.do(operation, isNew ? "new" : "going on", life, how);
    if (life.isOver) throw new Error("killed");
    this.unfinished.delete(operation);
    if (operation in CONVERTED || operation.endsWith("in place")) await this.#converted();
  }

  /** Whether it is done by now, or the disk is not what it began with any more. */
  async isMoot(operation: Operation): Promise<boolean> {
    const { encryption_secret_uuid: uuid, volume } = await this.place.disk();
    const record = uuid && (await this.place.record(uuid));
    // its key is activated by the guest's next start
    if (operation === "rotate deep" && this.#operations.isGiven(operation, volume.path)) return true;
    if (operation === "purge" || operation === "reap former passphrases") return false;
    if (operation === "encrypt") return uuid !== undefined;
    if (operation === "encrypt in place") {
      const isNoted = uuid !== undefined && this.place.journal().read(uuid) !== undefined;
      return uuid !== undefined && record?.conversion === undefined && !isNoted;
    }
    if (operation === "remove escrow") return record === undefined || recoveryOf(record).length === 0;
    return uuid === undefined;
  }

  /** The guest's next start: activates the key of a volume that it was given just before a kill. */
  async start(): Promise<void> {
    const { encryption_secret_uuid: uuid } = await this.place.disk();
    if (uuid === undefined || (await this.place.record(uuid))?.state !== "pending") return;
    await this.place.keystore.change(uuid, (record) => ({ ...record, state: "active" }));
  }

  /** The guest runs, writes, and is shut off. */
  async write(): Promise<void> {
    await this.start();
    const { node, passphrase } = await this.place.opened();
    using secret = passphrase;
    const pattern = (++this.#writes % 254) + 1;
    qemuIo(node, [`write -P ${pattern} 64k 4k`, `write -P ${pattern} ${SIZE - 4096} 4k`], secret);
    this.#content = await this.place.seen();
  }

  /**
   * What holds always: the disk opens with a key that the keystore has, or is as it was, and its guest sees what it has
   * written. While the payload moves nobody opens it, and the keystore has what is needed to go on.
   */
  async broken(): Promise<string | undefined> {
    const { place } = this;
    const { encryption_secret_uuid: named, volume } = await place.disk();
    const moving = (await place.keystore.list()).find(
      (record) => record.conversion !== undefined && record.volume === volume.path,
    );
    if (moving !== undefined) {
      const isStarted = named === undefined && (await place.seen()) !== this.#content;
      return isStarted ? "the payload moves, and a start of the guest is not refused" : undefined;
    }
    if (named === undefined)
      return (await place.seen()) === this.#content ? undefined : "plain, and not the same";
    const header = await place.header();
    if (this.unfinished.has("restore the header")) return await this.#notRestorable(named);
    const uuid = claimedLuksUuid(header);
    if (uuid === undefined) return "the volume has no LUKS header";
    if (uuid !== named && !this.unfinished.has("separate"))
      return "its header is of another key than is named";
    const key = await place.keystore.fetch(uuid);
    if (key === undefined) return "the keystore does not have its key";
    using passphrase = key.passphrase;
    if ((await place.keyslots.find(header, passphrase)) === undefined) return "its key does not open it";
    if ((await place.seen(uuid)) !== this.#content) return "encrypted, and not the same";
    for (const recovery of this.#operations.recoveries) {
      if (recovery.uuid !== uuid) continue;
      if ((await place.keyslots.find(header, recovery.secret)) === undefined)
        return "a recovery keyslot is gone";
    }
    return undefined;
  }

  async #notRestorable(uuid: KeyUuid): Promise<string | undefined> {
    const { vault, keystore, keyslots } = this.place;
    const [copy] = vault.backups(uuid);
    const key = await keystore.fetch(uuid);
    if (copy === undefined || key === undefined) return "neither header nor copy";
    using passphrase = key.passphrase;
    const opener = await keyslots.find(vault.read(copy), passphrase);
    return opener === undefined ? "its key does not open the copy of its header" : undefined;
  }

  /** The command that was cut short while the disk was another one has nothing to go on with. */
  async #converted(): Promise<void> {
    for (const operation of [...this.unfinished])
      if (operation in CONVERTED || (await this.isMoot(operation))) this.unfinished.delete(operation);
  }
}
