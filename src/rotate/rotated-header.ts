import type { Keyslots } from "../encryption/keyslots.js";
import { parsedHeader } from "../encryption/keyslot-use.js";
import type { LuksPiece } from "../encryption/luks-image.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { HeaderVault } from "../headers/header-vault.js";
import type { Key } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";

interface Place {
  readonly volume: Volume;
  readonly backend: Pick<StorageBackend, "readHeader" | "changeHeader">;
  readonly uuid: KeyUuid;
}

interface Ports {
  readonly keyslots: Pick<Keyslots, "used" | "add" | "remove" | "find">;
  readonly vault: Pick<HeaderVault, "keep">;
}

/** The LUKS header of a volume whose passphrase is replaced. */
export class RotatedHeader {
  constructor(
    private readonly place: Place,
    private readonly ports: Ports,
  ) {}

  read(): Promise<Buffer> {
    return this.place.backend.readHeader(this.place.volume);
  }

  /** What gives it another keyslot, and which. @throws KEYSLOT_NOT_FREE, PASSPHRASE_REJECTED */
  withKeyslot(header: Buffer, { record }: Key, passphrase: Secret, added: Secret) {
    const keyslot = freeKeyslot(header, this.ports.keyslots.used(header), record.recovery ?? []);
    return this.ports.keyslots.add(header, { passphrase, added, keyslot, strength: "machine" });
  }

  /** @param check is called right before anything is written, and throws to leave the header as it is */
  async remove(header: Buffer, passphrase: Secret, keyslot: number, check: () => Promise<void>) {
    const { pieces } = await this.ports.keyslots.remove(header, { keyslot, passphrase });
    await this.write(header, pieces, check);
  }

  /** Writes what was made for this header, if it is that still. @throws ROTATION_REFUSED, and what `check` throws */
  async write(
    header: Buffer,
    pieces: readonly LuksPiece[],
    check: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { backend, volume } = this.place;
    await backend.changeHeader(volume, header.length, async (now) => {
      if (!now.equals(header)) throw this.#changed();
      await check();
      return pieces;
    });
  }

  /**
   * Asked of what the storage has, before the keystore is given a passphrase that opens nothing.
   * @throws VOLUME_WRITE_FAILED
   */
  async requireOpen(passphrase: Secret, keyslot: number): Promise<void> {
    const found = await this.ports.keyslots.find(await this.read(), passphrase, keyslot);
    if (found === keyslot) return;
    throw new LuksmithError("VOLUME_WRITE_FAILED", {
      what: `${volumeName(this.place.volume)} does not open with the keyslot that was just made`,
      why: "its storage gives back something else than what was written, or somebody else writes to it",
    });
  }

  async keep(header: Buffer): Promise<void> {
    const { uuid, volume } = this.place;
    await this.ports.vault.keep({ uuid, volume: volumeName(volume), header, reason: "changed" });
  }

  #changed(): LuksmithError {
    return new LuksmithError("ROTATION_REFUSED", {
      what: `the LUKS header of ${volumeName(this.place.volume)} has changed meanwhile`,
      why: "somebody else works on it",
      hint: "begin again when that has ended",
    });
  }
}

const MOST_KEYSLOTS = { 1: 8, 2: 32 };

/** None that the record says is for recovery, even if an old header does not have it. @throws KEYSLOT_NOT_FREE */
function freeKeyslot(
  header: Buffer,
  used: readonly number[],
  recovery: readonly { readonly keyslot: number }[],
): number {
  const taken = new Set([...used, ...recovery.map(({ keyslot }) => keyslot)]);
  const count = MOST_KEYSLOTS[parsedHeader(header).version];
  const free = Array.from({ length: count }, (_, number) => number).find((number) => !taken.has(number));
  if (free !== undefined) return free;
  throw new LuksmithError("KEYSLOT_NOT_FREE", {
    what: "there is no keyslot for a new passphrase",
    why: `all ${count} keyslots are in use, or are for recovery as its record says`,
    hint: "destroy one that nobody needs: luksmith header show and luksmith escrow list name them",
  });
}
