import { LuksmithError } from "../../src/error/luksmith-error.js";
import type {
  ConfiguredGuest,
  Guest,
  GuestSummary,
  HostAdapter,
  HostSecret,
  HostVersions,
  InstallResult,
  LifecycleEvent,
  ProvidedSecret,
  Registration,
} from "../../src/host/host-adapter.js";
import type { DataPlace } from "../../src/host/data-place.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { FakeGuestMigration } from "./fake-guest-migration.js";

/** A host manager in memory that keeps the promises of the port for host secrets; it has no guests and no hooks. */
export class FakeHostAdapter implements HostAdapter {
  readonly type = "libvirt";
  readonly migration = new FakeGuestMigration(() => this.#provided.map(({ uuid }) => uuid));
  /** File with the saved memory of every guest. */
  savedMemoryFile: string | undefined;
  /** What QEMU would be given: the passphrase of each host secret. */
  readonly passphrases = new Map<KeyUuid, string>();
  /** Disk whose host secret is refused. */
  refusedDisk: string | undefined;
  /** Whether it cannot tell its secrets. */
  isDown = false;
  #provided: readonly ProvidedSecret[] = [];

  provideSecrets(guest: { readonly id: string }, secrets: readonly HostSecret[]): Promise<void> {
    if (secrets.some(({ disk }) => disk === this.refusedDisk)) {
      return Promise.reject(new LuksmithError("HOST_SECRET_FAILED", { what: "the host refuses a secret" }));
    }
    for (const { uuid, disk, passphrase } of secrets) {
      const others = this.#provided.filter((one) => one.uuid !== uuid || one.guestId !== guest.id);
      this.#provided = [...others, { uuid, disk, guestId: guest.id }];
      passphrase.use((bytes) => this.passphrases.set(uuid, bytes.toString()));
    }
    return Promise.resolve();
  }

  providedSecrets(guest?: Pick<Guest, "id">): Promise<ProvidedSecret[]> {
    if (this.isDown)
      return Promise.reject(new LuksmithError("HOST_UNAVAILABLE", { what: "the host is down" }));
    const all = [...this.#provided];
    return Promise.resolve(guest === undefined ? all : all.filter((secret) => secret.guestId === guest.id));
  }

  withdrawSecrets(guest: { readonly id: string }, uuids: readonly KeyUuid[]): Promise<void> {
    this.#provided = this.#provided.filter(
      ({ uuid, guestId }) => guestId !== guest.id || !uuids.includes(uuid),
    );
    for (const uuid of uuids) {
      if (!this.#provided.some((secret) => secret.uuid === uuid)) this.passphrases.delete(uuid);
    }
    return Promise.resolve();
  }

  dataPlaces(): Promise<DataPlace[]> {
    return Promise.resolve([]);
  }

  savedMemory(): string | undefined {
    return this.savedMemoryFile;
  }

  listGuests(): Promise<GuestSummary[]> {
    return Promise.resolve([]);
  }

  readGuest(nameOrId: string): Promise<ConfiguredGuest> {
    return Promise.reject(new LuksmithError("GUEST_NOT_FOUND", { what: `there is no guest ${nameOrId}` }));
  }

  readRunningGuest(): Promise<Guest> {
    return Promise.reject(notInUse());
  }

  diskSize(): Promise<bigint> {
    return Promise.reject(notInUse());
  }

  resizeDisk(): Promise<void> {
    return Promise.reject(notInUse());
  }

  parseEvent(): LifecycleEvent {
    throw notInUse();
  }

  annotate(): Promise<void> {
    return Promise.reject(notInUse());
  }

  unannotate(): Promise<void> {
    return Promise.reject(notInUse());
  }

  addDisk(): Promise<void> {
    return Promise.reject(notInUse());
  }

  removeDisk(): Promise<void> {
    return Promise.reject(notInUse());
  }

  attachDisk(): Promise<void> {
    return Promise.reject(notInUse());
  }

  detachDisk(): Promise<void> {
    return Promise.reject(notInUse());
  }

  versions(): Promise<HostVersions> {
    return Promise.resolve({ qemu: "7.2.0", libvirt: "9.0.0" });
  }

  registration(): Promise<Registration> {
    return Promise.resolve({ kind: "absent", path: "/nowhere" });
  }

  install(): Promise<InstallResult> {
    return Promise.reject(notInUse());
  }

  uninstall(): Promise<InstallResult> {
    return Promise.reject(notInUse());
  }
}

function notInUse(): Error {
  return new Error("a handler of an event has no use for this");
}
