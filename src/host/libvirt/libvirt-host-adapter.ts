import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import type {
  Annotations,
  ConfiguredGuest,
  Guest,
  GuestSummary,
  HookInput,
  HostAdapter,
  HostSecret,
  HostVersions,
  InstallResult,
  LifecycleEvent,
  NewDisk,
  ProvidedSecret,
  Registration,
} from "../host-adapter.js";
import { Autostart } from "./autostart.js";
import { LibvirtDisks } from "./disks.js";
import { parseEvent } from "./events.js";
import type { LibvirtGuests } from "./guests.js";
import { HookShim, type ShimPlaces } from "./hook-shim.js";
import { LibvirtSecrets } from "./secrets.js";
import { askVersions } from "./versions.js";
import { Virsh } from "./virsh.js";

/** Seconds; less than virsh waits for an answer, since libvirtd gives none about a guest whose hook waits here. */
const LOCK_PATIENCE = 10;

/** Milliseconds that the daemon may take to look for hooks; it is done in a few. */
const RELOADING = 500;

/** A host whose guests libvirtd (or virtqemud) runs. */
export class LibvirtHostAdapter implements HostAdapter {
  readonly type = "libvirt";
  readonly #virsh: Virsh;
  readonly #shim: HookShim;
  readonly #autostart: Autostart;
  readonly #locks: VolumeLocks;

  /** @param lockDirectory for tests */
  constructor(
    settings: Pick<EffectiveSettings, "libvirtUri">,
    runner: CommandRunner,
    places?: ShimPlaces,
    lockDirectory?: string,
  ) {
    this.#locks = new VolumeLocks(runner, lockDirectory, LOCK_PATIENCE);
    this.#virsh = new Virsh(settings.libvirtUri, runner);
    this.#shim = new HookShim(places);
    this.#autostart = new Autostart(settings.libvirtUri);
  }

  parseEvent(input: HookInput): LifecycleEvent {
    return parseEvent(input);
  }

  async provideSecrets(guest: Pick<Guest, "id" | "name">, secrets: readonly HostSecret[]): Promise<void> {
    try {
      await this.#secrets(guest).provide(guest, secrets);
    } catch (thrown) {
      throw this.#autostart.retryLater(guest, thrown) ?? thrown;
    }
  }

  providedSecrets(guest?: Pick<Guest, "id" | "name">): Promise<ProvidedSecret[]> {
    return this.#secrets(guest).provided(guest?.id);
  }

  withdrawSecrets(guest: Pick<Guest, "id" | "name">, uuids: readonly KeyUuid[]): Promise<void> {
    return this.#secrets().withdraw(guest, uuids);
  }

  async listGuests(): Promise<GuestSummary[]> {
    return (await this.#guests()).list();
  }

  async readGuest(nameOrId: string): Promise<ConfiguredGuest> {
    return (await this.#guests()).read(nameOrId);
  }

  async readRunningGuest(guest: Pick<Guest, "id" | "name">): Promise<Guest> {
    return (await this.#guests()).readRunning(guest);
  }

  async annotate(guest: Guest, annotations: Annotations, replaced?: Annotations): Promise<void> {
    return (await this.#guests()).annotate(guest, annotations, replaced);
  }

  async unannotate(guest: Guest, annotations: Annotations, restored?: Annotations): Promise<void> {
    return (await this.#guests()).unannotate(guest, annotations, restored);
  }

  async addDisk(guest: Guest, disk: NewDisk): Promise<void> {
    return (await this.#guests()).addDisk(guest, disk);
  }

  async removeDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    return (await this.#guests()).removeDisk(guest, disk);
  }

  async attachDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    return (await this.#guests()).attachDisk(guest, disk);
  }

  async detachDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    return (await this.#guests()).detachDisk(guest, disk);
  }

  diskSize(guest: Pick<Guest, "id" | "name">, disk: string): Promise<bigint> {
    return new LibvirtDisks(this.#virsh).size(guest, disk);
  }

  resizeDisk(guest: Pick<Guest, "id" | "name">, disk: string, bytes: bigint): Promise<void> {
    return new LibvirtDisks(this.#virsh).resize(guest, disk, bytes);
  }

  versions(): Promise<HostVersions> {
    return askVersions(this.#virsh);
  }

  registration(): Promise<Registration> {
    return this.#shim.registration();
  }

  async install(mode: "apply" | "dry-run"): Promise<InstallResult> {
    const result = await this.#shim.install(mode);
    if (result.reloaded !== undefined) {
      // when it answers it has the signal; then a thread of its own looks, and nothing tells when it has
      await this.#virsh.run(["uri"]).catch(ignoreUnavailable);
      await setTimeout(RELOADING);
    }
    return result;
  }

  uninstall(mode: "apply" | "dry-run"): Promise<InstallResult> {
    return this.#shim.uninstall(mode);
  }

  #secrets(guest?: Pick<Guest, "name">): LibvirtSecrets {
    const patience = guest && this.#autostart.patience(guest);
    const virsh = patience === undefined ? this.#virsh : this.#virsh.waiting(patience);
    return new LibvirtSecrets(virsh, this.#locks);
  }

  /** Loaded when it is asked for: no hook asks, and its XML library takes nearly as long as starting Node. */
  async #guests(): Promise<LibvirtGuests> {
    const { LibvirtGuests } = await import("./guests.js");
    return new LibvirtGuests(this.#virsh);
  }
}

function ignoreUnavailable(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError)) throw thrown;
}
