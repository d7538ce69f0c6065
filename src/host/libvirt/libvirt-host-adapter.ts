import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import type { PathVolume } from "../../storage/volume.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import type { DataPlace } from "../data-place.js";
import type { DiskMirror } from "../disk-mirror.js";
import type { GuestMigration } from "../guest-migration.js";
import type {
  Annotations,
  ConfiguredGuest,
  DiskAnnotation,
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
  ReaperChange,
  ReaperRegistration,
  Registration,
  UnderWay,
} from "../host-adapter.js";
import { type InstallPlaces, SYSTEM } from "../install-places.js";
import { ReapTimer } from "../reap-timer.js";
import { Autostart } from "./autostart.js";
import { CockpitPage } from "./cockpit-page.js";
import { LibvirtDisks } from "./disks.js";
import { parseEvent } from "./events.js";
import type { LibvirtHotPlug } from "./hot-plug.js";
import type { LibvirtGuests } from "./guests.js";
import { HookShim } from "./hook-shim.js";
import { LibvirtMigration } from "./migration.js";
import { savedMemory } from "./saved-memory.js";
import { LibvirtSecrets } from "./secrets.js";
import { askVersions } from "./versions.js";
import { Virsh } from "./virsh.js";

/** Seconds; less than virsh waits for an answer, since libvirtd gives none about a guest whose hook waits here. */
const LOCK_PATIENCE = 10;

/** Milliseconds; libvirtd answers in some tens. */
const BRIEFLY = 3000;

/** Milliseconds that the daemon may take to look for hooks; it is done in a few. */
const RELOADING = 500;

/** A host whose guests libvirtd (or virtqemud) runs. */
export class LibvirtHostAdapter implements HostAdapter {
  readonly type = "libvirt";
  readonly migration: GuestMigration;
  readonly #virsh: Virsh;
  readonly #shim: HookShim;
  readonly #timer: ReapTimer;
  readonly #page: CockpitPage;
  readonly #autostart: Autostart;
  readonly #locks: VolumeLocks;

  /** @param lockDirectory for tests */
  constructor(
    settings: Pick<EffectiveSettings, "libvirtUri">,
    runner: CommandRunner,
    places: InstallPlaces = SYSTEM,
    lockDirectory?: string,
  ) {
    this.#locks = new VolumeLocks(runner, lockDirectory, LOCK_PATIENCE);
    this.#virsh = new Virsh(settings.libvirtUri, runner);
    this.#shim = new HookShim(places);
    this.#timer = new ReapTimer("libvirt", places, runner);
    this.#page = new CockpitPage(places);
    this.#autostart = new Autostart(settings.libvirtUri);
    this.migration = new LibvirtMigration(this.#virsh, this.#secrets());
  }

  parseEvent(input: HookInput): LifecycleEvent {
    return parseEvent(input);
  }

  async provideSecrets(
    guest: Pick<Guest, "id" | "name">,
    secrets: readonly HostSecret[],
    others?: "withdraw" | "keep",
  ): Promise<void> {
    try {
      await this.#secrets(guest).provide(guest, secrets, others);
    } catch (thrown) {
      throw this.#autostart.retryLater(guest, thrown) ?? thrown;
    }
  }

  providedSecrets(guest?: Pick<Guest, "id" | "name">, patience?: "brief"): Promise<ProvidedSecret[]> {
    const secrets =
      patience === undefined
        ? this.#secrets(guest)
        : new LibvirtSecrets(this.#virsh.waiting(BRIEFLY), this.#locks);
    return secrets.provided(guest?.id);
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

  async nameVolume(
    guest: Guest,
    disk: string,
    annotation: DiskAnnotation,
    volume: PathVolume,
  ): Promise<void> {
    return (await this.#guests()).nameVolume(guest, disk, annotation, volume);
  }

  async addDisk(guest: Guest, disk: NewDisk): Promise<void> {
    return (await this.#guests()).addDisk(guest, disk);
  }

  async removeDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    return (await this.#guests()).removeDisk(guest, disk);
  }

  async attachDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    return (await this.#hotPlug()).attach(guest, disk);
  }

  async detachDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    return (await this.#hotPlug()).detach(guest, disk);
  }

  async underWay(guest: Pick<Guest, "id" | "name">): Promise<UnderWay | undefined> {
    const { underWay } = await import("./under-way.js");
    return underWay(this.#virsh, guest);
  }

  diskSize(guest: Pick<Guest, "id" | "name">, disk: string): Promise<bigint> {
    return new LibvirtDisks(this.#virsh).size(guest, disk);
  }

  resizeDisk(guest: Pick<Guest, "id" | "name">, disk: string, bytes: bigint): Promise<void> {
    return new LibvirtDisks(this.#virsh).resize(guest, disk, bytes);
  }

  async mirror(): Promise<DiskMirror> {
    const { LibvirtMirror } = await import("./mirror.js");
    return new LibvirtMirror(this.#virsh, this.#locks);
  }

  async dataPlaces(guest: ConfiguredGuest): Promise<DataPlace[]> {
    const { LibvirtDataPlaces } = await import("./data-places.js");
    return new LibvirtDataPlaces(this.#virsh).of(guest);
  }

  savedMemory(guest: Pick<Guest, "id" | "name">): string | undefined {
    return savedMemory(guest);
  }

  async versions(guest?: Pick<Guest, "id" | "name">): Promise<HostVersions> {
    try {
      return await askVersions(this.#patient(guest));
    } catch (thrown) {
      throw (guest && this.#autostart.retryLater(guest, thrown)) ?? thrown;
    }
  }

  registration(): Promise<Registration> {
    return this.#shim.registration();
  }

  reaperRegistration(): ReaperRegistration {
    return this.#timer.registration();
  }

  async install(mode: "apply" | "dry-run"): Promise<InstallResult> {
    this.#timer.refuseForeign();
    const result = await this.#shim.install(mode);
    if (result.reloaded !== undefined) {
      // when it answers it has the signal; then a thread of its own looks, and nothing tells when it has
      await this.#virsh.run(["uri"]).catch(ignoreUnavailable);
      await setTimeout(RELOADING);
    }
    const installed = { ...result, reaper: await this.#installTimer(mode) };
    const page = this.#page.install(mode);
    return page === undefined ? installed : { ...installed, page };
  }

  async uninstall(mode: "apply" | "dry-run"): Promise<InstallResult> {
    this.#timer.refuseForeign();
    const result = await this.#shim.uninstall(mode);
    const page = this.#page.uninstall(mode);
    const change = await this.#timer.uninstall(mode);
    return {
      ...result,
      ...(page !== undefined && { page }),
      ...(change !== "unchanged" && { reaper: { kind: "timer", path: this.#timer.path, change } }),
    };
  }

  async #installTimer(mode: "apply" | "dry-run"): Promise<ReaperChange> {
    const reaper = this.#timer.registration();
    if (reaper.kind === "none") return { kind: "none", cron: reaper.cron };
    return { kind: "timer", path: reaper.path, change: await this.#timer.install(mode) };
  }

  #secrets(guest?: Pick<Guest, "name">): LibvirtSecrets {
    return new LibvirtSecrets(this.#patient(guest), this.#locks);
  }

  #patient(guest?: Pick<Guest, "name">): Virsh {
    const patience = guest && this.#autostart.patience(guest);
    return patience === undefined ? this.#virsh : this.#virsh.waiting(patience);
  }

  /** Loaded when it is asked for: no hook asks, and its XML library takes nearly as long as starting Node. */
  async #guests(): Promise<LibvirtGuests> {
    const { LibvirtGuests } = await import("./guests.js");
    return new LibvirtGuests(this.#virsh);
  }

  async #hotPlug(): Promise<LibvirtHotPlug> {
    const { LibvirtHotPlug } = await import("./hot-plug.js");
    return new LibvirtHotPlug(this.#virsh);
  }
}

function ignoreUnavailable(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError)) throw thrown;
}
