import type { KeyUuid } from "../keystore/key-uuid.js";

/** A LUKS1 header as it is on disk; the reader below is strict. */
export interface LuksHeader {
  readonly version: 1;
  readonly uuid: KeyUuid;
  /** `aes-xts-plain64` */
  readonly cipher: string;
  readonly hash: string;
  /** Bits of the volume key. */
  readonly keySize: number;
  /** Bytes from the start of the LUKS container to the encrypted data. */
  readonly payloadOffset: number;
  /** One for each of the 8 keyslots. */
  readonly keyslots: readonly LuksKeyslot[];
}

export interface LuksKeyslot {
  readonly active: boolean;
  /** PBKDF2 iterations. */
  readonly iterations: number;
  /** Bytes from the start of the LUKS container to the key material. */
  readonly offset: number;
  readonly stripes: number;
}
