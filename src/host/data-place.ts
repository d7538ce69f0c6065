/** Somewhere outside the guest's encrypted disks where data of the guest are, or can be. */
export interface DataPlace {
  readonly kind: DataPlaceKind;
  /** A path, a device, a snapshot's name: where it is; absent for what Luksmith cannot see. */
  readonly where?: string;
  /**
   * `encrypted`: by whoever is named in `detail`. `plaintext`: it is there, for anyone who carries the disk away.
   * `possible`: nothing of it is there now, or nobody can tell from here.
   */
  readonly protection: "encrypted" | "plaintext" | "possible";
  /** One sentence for a person: what is in it, or how it is encrypted. */
  readonly detail: string;
  /** What can be done about it. */
  readonly hint?: string;
}

export type DataPlaceKind =
  /** A disk of the guest that is not encrypted: swap and ephemeral disks among them. */
  | "disk"
  /** A configuration drive or an installation medium. */
  | "medium"
  | "nvram"
  | "tpm-state"
  | "saved-memory"
  | "snapshot-memory"
  /** Guest memory that lies in a file while the guest runs. */
  | "memory-file"
  | "core-dump"
  | "console-log"
  | "shared-directory"
  /** What the host hands to the guest's firmware: kernel, initrd, Ignition. */
  | "boot-files"
  | "backup"
  /** A device of the host that the guest is given as it is. */
  | "host-device"
  /** Arguments for QEMU in the guest's configuration, which can name any file. */
  | "qemu-arguments"
  /** What the host manager itself keeps of the passphrases of a running guest. */
  | "host-secrets"
  | "host-swap"
  /** The network between hosts, when the guest migrates. */
  | "migration"
  /** What the host manager could not tell, in `detail`. */
  | "unknown";
