import type { HostVersions } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { PathVolume, Volume } from "../storage/volume.js";
import type { EncryptionFormat, EncryptionSpec } from "./luks-spec.js";
import type { Trait } from "./traits.js";

/** Who encrypts and decrypts: QEMU itself, or the kernel's dm-crypt under it. */
export type ProviderName = "native" | "dm-crypt";

export interface FormatVolume {
  readonly volume: Volume;
  readonly uuid: KeyUuid;
  readonly spec: EncryptionSpec;
  /** Stays the caller's. */
  readonly passphrase: Secret;
}

export type AskVersions = () => Promise<HostVersions>;

/** Opens and formats volumes of some formats. `test/contract/encryption-provider.contract.ts` runs on every one. */
export interface EncryptionProvider {
  readonly name: ProviderName;
  readonly formats: readonly EncryptionFormat[];

  /**
   * What this provider can do on this host now (programs, versions, the kernel); empty where it cannot work.
   * @param versions is asked only where the answer depends on it
   */
  traits(versions: AskVersions): Promise<readonly Trait[]>;

  /**
   * Why it lacks formats on this host now, a clause each for people: `cryptsetup is missing (apt-get install …)`. Empty
   * where `traits` has all that its formats have.
   * @param versions as for `traits`
   */
  obstacles?(versions: AskVersions): Promise<readonly string[]>;

  /**
   * Makes a volume that is empty *now* ready for its first guest, through its storage backend, whose errors and proofs
   * hold: writes a LUKS header, or for `plain`, which has none, proves only that nothing is lost. Idempotent.
   * @throws REQUEST_INVALID, VOLUME_UNSUPPORTED if what is asked for could not be opened afterwards: nothing is written
   */
  format(backend: StorageBackend, request: FormatVolume): Promise<void>;
}

/** A volume that a guest is given as a mapping of the kernel. */
export interface MappingRequest {
  /** In /dev/mapper. */
  readonly name: string;
  readonly volume: PathVolume;
  readonly uuid: KeyUuid;
  readonly spec: EncryptionSpec;
  readonly guest: MappingOwner;
  /** Device name of the disk. */
  readonly disk: string;
  /** `read` for one through which nobody can write; as its guest needs it without. */
  readonly access?: "read";
}

/** For whom a mapping was opened. */
export interface MappingOwner {
  readonly id: string;
  readonly name: string;
}

/** A mapping that Luksmith opened, or was about to open, as this host remembers until it restarts. */
export interface MappingClaim {
  readonly name: string;
  readonly guest: MappingOwner;
  readonly disk: string;
  readonly uuid: KeyUuid;
  /** For messages. */
  readonly volume: string;
}

/** What became of a mapping that was to be closed. */
export type Closed =
  /** It is not there, be it that it was closed already. */
  | { readonly kind: "closed" }
  /**
   * It is still there, and the claim as well: somebody has it open, after some tries, and the reaper closes it later; or,
   * where there is a `why`, it is none that was opened for this claim, and nobody here closes it.
   */
  | { readonly kind: "busy"; readonly why?: string };

/** The mappings of dm-crypt that Luksmith opens on this host. */
export interface Mappings {
  /**
   * Makes /dev/mapper/NAME, decrypted, for this guest alone. A mapping that an earlier start of the same guest left, for
   * the same disk and key, is closed and opened anew. The claim is written first, so that a kill leaves nothing that the reaper does not know.
   * @throws MAPPING_FOREIGN (a mapping of this name is not ours, or another guest's or disk's; or no name of ours),
   *   MAPPING_BUSY (a left one that somebody has open), PASSPHRASE_REJECTED, LUKS_UUID_MISMATCH, VOLUME_NOT_FOUND,
   *   VOLUME_NOT_FORMATTED, VOLUME_UNREADABLE, VOLUME_BUSY, TRAIT_MISSING, TOOL_FAILED, TOOL_TIMEOUT, LOCK_TIMEOUT,
   *   NOT_PERMITTED: no mapping is left, or the claim stays for the reaper
   */
  open(request: MappingRequest, passphrase: Secret): Promise<void>;

  /**
   * Closes a mapping and forgets its claim. Idempotent: one that is gone is success. Only one that Luksmith has claimed
   * is ever closed; one that is not claimed, and is there, is left alone and counts as closed. What is claimed anew while
   * this waits for its turn is a later start's, and stays.
   * @param guest leaves it alone where it was opened for another guest
   * @throws TOOL_FAILED, TOOL_TIMEOUT, LOCK_TIMEOUT, NOT_PERMITTED: the claim stays
   */
  close(name: string, guest?: Pick<MappingOwner, "id">): Promise<Closed>;

  /** Lets the mapping have all of its volume, which has grown. @throws VOLUME_GROW_FAILED */
  resize(name: string, passphrase: Secret): Promise<void>;

  /** Does `work` while nobody else opens or closes a mapping of this name, or claims it. @throws LOCK_TIMEOUT, NOT_PERMITTED */
  hold<T>(name: string, work: () => Promise<T>): Promise<T>;

  /** What is claimed, of one guest or of all; starts no process. */
  claims(guestId?: string): readonly MappingClaim[];
}
