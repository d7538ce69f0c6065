import type { DiskBus, DiskInfo } from "../disk-info/disk-info.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Reaped } from "../reap/reaper.js";
import type { Ask } from "../request/ask.js";
import type { Secret } from "../secret/secret.js";
import type { EffectiveSettings } from "../settings/settings.js";
import type { Engine } from "../storage/storage-backend.js";
import type { PathVolume, Volume } from "../storage/volume.js";
import type { DataPlace } from "./data-place.js";
import type { DiskMirror } from "./disk-mirror.js";
import type { GuestMigration } from "./guest-migration.js";

/** A guest as its host manager configures it; made by the host adapter from the guest's configuration. */
export interface Guest {
  /** A libvirt domain UUID or a VMID: stable, and safe as a file name. */
  readonly id: string;
  readonly name: string;
  readonly disks: DiskInfo;
  /** Who asks for encryption in the configuration itself: flavor, image, metadata. */
  readonly asks: readonly Ask[];
  /** Words that the operator's rules can match. */
  readonly tags: readonly string[];
  /** The resource pool that it is in, where the host manager has such pools. */
  readonly pool?: string;
  /**
   * IDs of the storages that a disk is moved to in order to be encrypted, none if there is none yet; absent for a host
   * manager on which disks are encrypted in their place.
   */
  readonly encryptedStorages?: readonly string[];
  /** The configuration as the host manager gave it. May hold secrets of the guest (a VNC password): never logged. */
  readonly configuration: string;
  /** It runs on another host, and comes here. */
  readonly arrives?: true;
}

export const EVENTS = ["pre-start", "post-stop", "pre-migrate"] as const;
export type EventName = (typeof EVENTS)[number];

/**
 * What made the host manager fire: `start` prepares new disks; `restore` and `migrate` provide secrets for what exists,
 * and `migrate` also prepares volumes that storage is copied to; `arrival` (QEMU was started for a guest that migrates
 * here, and waits for its memory) is the last moment to refuse; `check` (the Luksmith of another host asks what
 * `migrate` would do) changes nothing; `reconnect` (the host manager restarted under a running guest) must never fail.
 */
export interface CauseOf {
  readonly "pre-start": "start" | "restore" | "reconnect";
  readonly "pre-migrate": "migrate" | "arrival" | "check";
  readonly "post-stop": "stop";
}

export type LifecycleEvent<Name extends EventName = EventName> = {
  [Event in Name]: { readonly event: Event; readonly cause: CauseOf[Event]; readonly guest: Guest };
}[Name];

/** What a hook process was given. */
export interface HookInput {
  readonly event: EventName;
  readonly argv: readonly string[];
  readonly stdin: string;
}

/** A secret on the host that QEMU reads the passphrase from. The caller keeps the duty to dispose. */
export interface HostSecret {
  readonly uuid: KeyUuid;
  readonly disk: string;
  /** Absent for the disk's own volume; `base` for one under it, over which disks of other guests may lie as well. */
  readonly opens?: "base";
  readonly passphrase: Secret;
}

/** A host secret that Luksmith provided, as the host tells it: one for each guest that needs it. */
export interface ProvidedSecret {
  readonly uuid: KeyUuid;
  readonly guestId: string;
  readonly disk: string;
  /** Where it is, on a host whose secrets are files: these do not tell their key, and `uuid` is made of the path. */
  readonly path?: string;
}

export interface GuestSummary {
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  /** It is at home on another host of the same cluster, and does not run on this one. */
  readonly elsewhere?: true;
}

/** A guest with its persistent configuration. */
export interface ConfiguredGuest extends Guest {
  readonly running: boolean;
  /** It does not run, but its memory was saved: the next start resumes it, with the disks as it left them. */
  readonly saved: boolean;
}

/** `leaving`: it migrates away, its memory is being saved, or its host manager has it locked for such work. */
export type UnderWay = "starting" | "leaving";

export interface HostVersions {
  /** `7.2.22` */
  readonly qemu: string;
  /** `9.0.0`; undefined for a host without libvirt. */
  readonly libvirt: string | undefined;
}

/** One answer of `luksmith doctor`. */
export interface HostCheck {
  readonly name: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly hint?: string;
}

/** Whether the host manager fires our hooks. */
export type Registration =
  | { readonly kind: "registered"; readonly path: string }
  | { readonly kind: "outdated"; readonly path: string }
  | { readonly kind: "foreign"; readonly path: string }
  | { readonly kind: "absent"; readonly path: string };

export interface InstallResult {
  readonly path: string;
  readonly change: "installed" | "updated" | "unchanged" | "removed";
  /** What the administrator must still do, a command: the host manager caches which hooks exist. */
  readonly restart: string | undefined;
  /** The daemon that was made to look for hooks again. */
  readonly reloaded?: string;
  /** What happened to the timer that runs `luksmith reap`; absent where there is none, and need not be. */
  readonly reaper?: ReaperChange;
  /** What happened to the page in Cockpit; absent where there is none, and none to be. */
  readonly page?: PageChange;
}

export interface PageChange {
  /** Its directory. */
  readonly path: string;
  /** `foreign`: it is somebody else's, and was left alone. */
  readonly change: InstallResult["change"] | "foreign";
}

export type ReaperChange =
  | { readonly kind: "timer"; readonly path: string; readonly change: InstallResult["change"] }
  /** The host has nothing that Luksmith could register it with: what its administrator may give to cron, a line. */
  | { readonly kind: "none"; readonly cron: string };

/** Whether the host runs `luksmith reap` by itself. */
export type ReaperRegistration =
  Registration | { readonly kind: "none"; readonly path: string; readonly cron: string };

/** A host manager. Hooks use parseEvent and the secrets; everything else is for the CLI. */
export interface HostAdapter {
  readonly type: "libvirt" | "proxmox";
  readonly migration: GuestMigration;
  /**
   * Set where the host manager makes the volumes itself that a migration copies to, and asks for their keys then: what
   * the hook of a migration sees is shared, and is only opened.
   */
  readonly makesCopiesItself?: true;

  /** The event that a hook process was started for. @throws EVENT_INVALID, GUEST_CONFIG_INVALID */
  parseEvent(input: HookInput): LifecycleEvent;

  /**
   * The guest with what its configuration does not say about its encrypted disks, for a host manager whose
   * configuration names no keys: their headers do. Absent where the configuration says it all. Before any start.
   * @throws why the guest must not start: a disk's volume has no LUKS header, or cannot be read; policy that is not met
   */
  identified?(guest: Guest): Promise<Guest>;

  /**
   * Says on standard output that the hook has done its work, for a host manager that is to take silence for a refusal:
   * a program that was cut short, or replaced by nothing, may end with exit code 0 too. Once, when nothing can fail any
   * more.
   */
  confirm?(): void;

  /**
   * What a key's record is to say now that a disk of the guest is opened with it; undefined if it does already. For a
   * host manager that destroys volumes, whose keys are kept for a while: one that is used is not to be deleted.
   */
  keyInUse?(record: KeyRecord, guest: Pick<Guest, "id" | "name">): KeyRecord | undefined;

  /** A start of the guest, which has its keys, was made ready: what is to be said about that afterwards. Never throws. */
  prepared?(guest: Guest): void;

  /**
   * Provides every secret in one go, replacing stale ones of the same UUID. All or nothing: on failure none of them
   * is left. @throws HOST_SECRET_FAILED, HOST_UNAVAILABLE
   * @param others what becomes of secrets that the guest still has from before, and that nobody else needs: kept
   *   without it. To withdraw them costs nothing; where nothing is provided it does not happen
   */
  provideSecrets(
    guest: Pick<Guest, "id" | "name">,
    secrets: readonly HostSecret[],
    others?: "withdraw" | "keep",
  ): Promise<void>;

  /**
   * Host secrets that Luksmith provided, of `guest` or of all guests.
   * @param patience `brief` for a hook that the host manager may be waiting for before it answers anybody
   * @throws HOST_UNAVAILABLE, HOST_SECRET_FAILED
   */
  providedSecrets(guest?: Pick<Guest, "id" | "name">, patience?: "brief"): Promise<ProvidedSecret[]>;

  /**
   * Takes secrets away from a guest; one that another guest needs stays for that one. Idempotent: a secret that is gone
   * is success. Tries all, then throws the first error.
   */
  withdrawSecrets(guest: Pick<Guest, "id" | "name">, uuids: readonly KeyUuid[]): Promise<void>;

  /**
   * A guest counts as running from before its pre-start until it has stopped: the reaper relies on it. Not from a hook:
   * libvirt deadlocks.
   */
  listGuests(): Promise<GuestSummary[]>;
  /** The persistent configuration, by name or id. Not from a hook. @throws GUEST_NOT_FOUND */
  readGuest(nameOrId: string): Promise<ConfiguredGuest>;
  /**
   * The configuration with which a guest runs now; its disks may be others than those of the persistent one. Not from
   * a hook. @throws GUEST_NOT_FOUND
   */
  readRunningGuest(guest: Pick<Guest, "id" | "name">): Promise<Guest>;
  /**
   * Annotates the persistent configuration with one annotation for each of these disks (by device name), in the place
   * of the one in `replaced` where a disk is in that, if it still is what `guest` says. Not from a hook.
   * @throws GUEST_CHANGED
   */
  annotate(guest: Guest, annotations: Annotations, replaced?: Annotations): Promise<void>;
  /**
   * Undoes `annotate`: takes these annotations out again, puts `restored` back, and leaves what others changed
   * meanwhile. Not from a hook.
   */
  unannotate(guest: Guest, annotations: Annotations, restored?: Annotations): Promise<void>;

  /**
   * Takes a disk's annotation out of the persistent configuration, and lets the disk be `volume` from then on, in one
   * change; the configuration must still be what `guest` says. Not from a hook. Absent for a host manager that moves
   * disks itself. @throws GUEST_CHANGED, ENCRYPTION_BLOCK_FOREIGN
   */
  nameVolume?(guest: Guest, disk: string, annotation: DiskAnnotation, volume: PathVolume): Promise<void>;

  /**
   * Adds a disk without encryption to the persistent configuration, if it still is what `guest` says. Not from a hook.
   * @throws GUEST_CHANGED, DISK_EXISTS, VOLUME_UNSUPPORTED
   */
  addDisk(guest: Guest, disk: NewDisk): Promise<void>;
  /** Takes a disk out of the persistent configuration, with its annotation. Idempotent. Not from a hook. */
  removeDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void>;
  /**
   * Gives a running guest the disk that its persistent configuration has under this device name, as it is annotated
   * there. Idempotent. Not from a hook. @throws GUEST_NOT_RUNNING, DISK_NOT_FOUND, DISK_ATTACH_FAILED
   */
  attachDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void>;
  /**
   * Takes a disk from a running guest and waits until the guest has let it go. Idempotent; a guest that does not run has
   * no disk. Not from a hook. @throws DISK_DETACH_FAILED
   */
  detachDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void>;

  /**
   * What a guest is in the midst of, if its volumes are being opened, or soon will be, with the secrets of before. Not
   * from a hook. @throws TOOL_FAILED, HOST_UNAVAILABLE
   */
  underWay?(guest: Pick<Guest, "id" | "name">): Promise<UnderWay | undefined>;

  /** Bytes of a disk, by device name, that a running guest sees. Not from a hook. @throws TOOL_FAILED */
  diskSize(guest: Pick<Guest, "id" | "name">, disk: string): Promise<bigint>;
  /**
   * Makes a running guest see `bytes` of its disk, of whole sectors of 512 bytes; its QEMU enlarges an image file by
   * itself, other storage must have the room already. Whoever calls sees to it that the disk does not get smaller.
   * Idempotent. Not from a hook. @throws VOLUME_GROW_FAILED, also if the guest sees less afterwards
   */
  resizeDisk(guest: Pick<Guest, "id" | "name">, disk: string, bytes: bigint): Promise<void>;

  /** Absent for a host manager that gives a running guest no other volume. Not from a hook. */
  mirror?(): Promise<DiskMirror>;

  /** Where data of the guest are besides its disks: what `luksmith status` tells. Not from a hook. */
  dataPlaces(guest: ConfiguredGuest): Promise<DataPlace[]>;
  /**
   * The file or volume that holds the memory of a guest whose state the host manager saved by itself, in plaintext. May
   * be called from a hook.
   */
  savedMemory(guest: Pick<Guest, "id" | "name" | "configuration">): string | undefined;
  /** Whether what the guest resumes from is encrypted: nothing is said about it then. May be called from a hook. */
  savesEncrypted?(guest: Pick<Guest, "configuration">): boolean;

  /** @param guest for whose start they are asked for, which a host that is starting itself puts off */
  versions(guest?: Pick<Guest, "id" | "name">): Promise<HostVersions>;

  /** What `luksmith doctor` asks of no other host manager. Not from a hook. */
  checks?(settings: Pick<EffectiveSettings, "keystores">): HostCheck[];

  registration(): Promise<Registration>;
  /** What there is to clean up besides what guests that do not run have left. Not from a hook. */
  reap?(manner: "apply" | "dry-run"): Promise<Reaped[]>;
  /** Absent for a host manager that cleans up itself. */
  reaperRegistration?(): ReaperRegistration;
  install(mode: "apply" | "dry-run"): Promise<InstallResult>;
  /** @param whenNeeded what becomes of it where disks could not be used without it, and the host manager could lose them */
  uninstall(mode: "apply" | "dry-run", whenNeeded?: "refuse" | "go on"): Promise<InstallResult>;
}

/** By device name. */
export type Annotations = ReadonlyMap<string, DiskAnnotation>;

/** How the guest's configuration says that a disk is encrypted: by it, closing is decided as well. */
export type DiskAnnotation = EncryptionBlock | MappingAnnotation;

/** QEMU decrypts the volume that the disk names. */
export interface EncryptionBlock {
  readonly format: "luks";
  readonly secretUuid: KeyUuid;
  /** Who decrypts, if not QEMU itself. */
  readonly engine?: Engine;
  /** What the disk is to name from now on; what it names, or what lies under its mapping, without it. */
  readonly volume?: PathVolume;
}

/** The disk names a mapping of dm-crypt, which is opened before QEMU starts; metadata tell what lies under it. */
export interface MappingAnnotation {
  readonly format: EncryptionFormat;
  readonly secretUuid: KeyUuid;
  /** Its name in /dev/mapper. */
  readonly mapping: string;
  readonly volume: PathVolume;
}

export function isMappingAnnotation(annotation: DiskAnnotation): annotation is MappingAnnotation {
  return "mapping" in annotation;
}

/** A disk to be added to a guest. */
export interface NewDisk {
  /** Device name, of which the bus follows where it is not said: `vdb`. */
  readonly dev: string;
  readonly volume: Volume;
  readonly bus?: DiskBus;
}
