import type { DiskBus } from "../disk-info/disk-info.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Engine } from "../storage/storage-backend.js";
import type { PathVolume, Volume } from "../storage/volume.js";

/**
 * One thing to do, as data without secrets: it can be printed (`--dry-run`, `luksmith plan`) and compared with a
 * golden file. The executor knows how to do each and how to undo it.
 */
export type Step =
  /** Makes a passphrase and stores it as a new key. */
  | { readonly kind: "store-key"; readonly keystore: string; readonly record: KeyRecord }
  /**
   * Writes the LUKS header if the volume is empty now, and proves that the passphrase opens it. For a disk of format
   * plain, proves only that the volume is empty.
   */
  | {
      readonly kind: "format";
      readonly disk: string;
      readonly volume: Volume;
      readonly record: KeyRecord;
      /** Who will open it; absent for QEMU itself. */
      readonly provider?: "dm-crypt";
    }
  /** Records that the key is in use: from here on its volume is never formatted again. */
  | { readonly kind: "activate-key"; readonly keystore: string; readonly record: KeyRecord }
  /** Writes the annotations into the guest's persistent configuration, in the place of those that are replaced. */
  | {
      readonly kind: "annotate";
      readonly blocks: readonly AnnotatedKey[];
      readonly replaced?: readonly AnnotatedKey[];
    }
  /** Enlarges the volume until its guest can see `to` bytes, and lets the guest see them if it runs. */
  | {
      readonly kind: "grow";
      readonly disk: string;
      readonly volume: Volume;
      /** Of the key, whose LUKS header the volume must have. */
      readonly uuid: KeyUuid;
      readonly guest: GuestState;
      /** The open mapping over it, which grows with it. */
      readonly mapping?: string;
      /** Bytes that the guest sees now, and shall see at least. */
      readonly from: number;
      readonly to: number;
    }
  /** Gives the host the passphrases that QEMU needs to open the disks. */
  | { readonly kind: "provide-secrets"; readonly secrets: readonly OpeningKey[] }
  /** Takes them away again, but for those that another guest needs. */
  | { readonly kind: "withdraw-secrets"; readonly secrets: readonly DiskKey[] }
  /** Makes the mapping that the guest is given, decrypted by dm-crypt. */
  | {
      readonly kind: "open-mapping";
      readonly disk: string;
      readonly uuid: KeyUuid;
      readonly mapping: string;
      readonly volume: PathVolume;
      readonly encryption: KeyRecord["encryption"];
    }
  /** Closes a mapping; one that is gone is success, one that is in use is left to the reaper unless it must be closed. */
  | {
      readonly kind: "close-mapping";
      readonly disk: string;
      readonly mapping: string;
      readonly ifBusy?: "refuse";
    }
  /** Adds a disk, not annotated yet, to the guest's persistent configuration. */
  | { readonly kind: "add-disk"; readonly disk: string; readonly volume: Volume; readonly bus?: DiskBus }
  /** Takes a disk, with its annotation, out of the guest's persistent configuration. */
  | { readonly kind: "remove-disk"; readonly disk: string }
  /** Gives the running guest a disk of its persistent configuration. */
  | { readonly kind: "attach-disk"; readonly disk: string }
  /** Takes a disk from the running guest, which must let it go; never undone. */
  | { readonly kind: "detach-disk"; readonly disk: string }
  /**
   * Notes that the guest migrates here, before anything is made for it: what its disks are called here, for whoever
   * goes on when this process was killed, and for the guest's persistent configuration, which comes last.
   */
  | { readonly kind: "note-arrival"; readonly copies: readonly CopiedDisk[] }
  /** Tells the host manager to go on with a configuration that names the keys of these disks here. */
  | { readonly kind: "answer-configuration"; readonly copies: readonly CopiedDisk[] };

/** A disk of a guest that migrates here whose content is copied to a volume of this host, with a key of its own. */
export interface CopiedDisk {
  readonly disk: string;
  /** As the guest's configuration annotates it at the source. */
  readonly from: AnnotatedKey;
  /** As it does here. */
  readonly to: AnnotatedKey;
}

export type GuestState = "stopped" | "running";

export interface DiskKey {
  readonly disk: string;
  readonly uuid: KeyUuid;
}

/** A key that the guest's configuration names: by an encryption block, or by a mapping that is opened with it. */
export interface AnnotatedKey extends DiskKey {
  /** Of the encryption block. */
  readonly engine?: Engine;
  readonly mapping?: {
    /** In /dev/mapper. */
    readonly name: string;
    readonly format: EncryptionFormat;
    readonly volume: PathVolume;
  };
}

/** A key that opens a disk's own volume, or an encrypted one under it, over which other disks may lie as well. */
export interface OpeningKey extends DiskKey {
  readonly opens?: "base";
}

/** Stages are done one after the other, the steps of one stage side by side. */
export interface Plan {
  readonly stages: readonly (readonly Step[])[];
}

/** A plan without the stages that have nothing to do. */
export function planOf(...stages: (readonly Step[])[]): Plan {
  return { stages: stages.filter((stage) => stage.length > 0) };
}
