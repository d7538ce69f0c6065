import type { JournalEntry } from "../convert/in-place/journal.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Cached } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { EncryptionRequest } from "../request/ask.js";
import type { Probe } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";

/** What the keystores say about the key that a disk names. */
export type KeyFact =
  | {
      readonly kind: "found";
      readonly keystore: string;
      readonly record: KeyRecord;
      /** Set where the keystore does not answer, and this is the copy that this host has. */
      readonly cached?: Cached;
    }
  /** Every keystore answered, and none has it. */
  | { readonly kind: "unknown" }
  | { readonly kind: "unavailable"; readonly error: LuksmithError };

/** A disk that nobody asked for, without an encryption block. */
export interface PlainDisk {
  readonly kind: "plain";
  readonly disk: DiskMapping;
  /** The LUKS header that the volume has all the same, if it has one. */
  readonly luks: HiddenLuks | undefined;
  /** The key of an encrypted layer under its volume: found, or not to be told from ours. */
  readonly overlaid: KeyFact | undefined;
  /** Set where this host has begun to convert the volume in place, and has not ended. */
  readonly moved?: JournalEntry;
}

export interface HiddenLuks {
  /** The volume in the image format that its bytes have, whatever the configuration says. */
  readonly volume: Volume;
  readonly uuid: KeyUuid;
  readonly key: KeyFact;
}

/** The key of an encrypted layer under a disk's own volume. */
export interface BaseKey {
  readonly uuid: KeyUuid;
  readonly key: KeyFact;
}

/** A disk whose encryption block, or whose mapping, names a key. */
export interface AnnotatedDisk {
  readonly kind: "annotated";
  readonly disk: DiskMapping;
  readonly uuid: KeyUuid;
  /** Undefined if nobody asks for it (`protect` did once, or the block is foreign). */
  readonly request: EncryptionRequest | undefined;
  readonly key: KeyFact;
  /** Undefined for a foreign block: what is not ours is not even read. */
  readonly probe: Probe | undefined;
  /** Why the volume must not be opened as the annotation or the key's record says. */
  readonly refusedEngine?: LuksmithError;
  /** Of the encrypted layers that the configuration names: other disks may lie over the same ones. */
  readonly bases: readonly BaseKey[];
}

export type DiskFacts = PlainDisk | AnnotatedDisk;
