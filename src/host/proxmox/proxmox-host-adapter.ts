import type { CommandRunner } from "../../exec/command-runner.js";
import type { LeftBehind } from "../../exec/left-behind.js";
import { parseVmConfig, type VmOptions } from "../../guest-config/proxmox/vm-config.js";
import { writeAll } from "../../fs/write-all.js";
import { parseVolumeId } from "../../guest-config/proxmox/drive.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { Reaped } from "../../reap/reaper.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import type { StorageRegistry } from "../../storage/storage-registry.js";
import type { DataPlace } from "../data-place.js";
import type {
  ConfiguredGuest,
  Guest,
  GuestSummary,
  HookInput,
  HostAdapter,
  HostCheck,
  HostSecret,
  HostVersions,
  InstallResult,
  LifecycleEvent,
  ProvidedSecret,
  ReaperRegistration,
  Registration,
  UnderWay,
} from "../host-adapter.js";
import { SYSTEM } from "../install-places.js";
import { ProxmoxInstallation } from "./install/proxmox-installation.js";
import { proxmoxChecks } from "./checks.js";
import { parseEvent } from "./events.js";
import { ProxmoxGuests } from "./guests.js";
import { ProxmoxSecrets } from "./host-secrets.js";
import { identify } from "./identify.js";
import { inUse } from "./key-in-use.js";
import { encryptedGroups } from "./looks-encrypted.js";
import { ProxmoxPlaces } from "./places.js";
import { readStoragesRecord } from "./read-storages-record.js";
import { hasStaleNotes } from "./stale-notes.js";
import { isUnderWay, startsIn } from "./starts.js";
import { ProxmoxMigration, unsupported } from "./unsupported.js";

const STDOUT = 1;
/** What the plugin, in Perl, demands of every hook whose exit code is 0. */
const CONFIRMATION = "luksmith: done\n";

export interface ProxmoxPorts {
  readonly runner: CommandRunner;
  readonly storage: () => StorageRegistry;
  readonly leaveBehind: (left: LeftBehind) => void;
}

/**
 * A host whose guests Proxmox VE runs. It makes, moves and attaches disks by itself, with the storage plugin and the
 * bridge; here is what the hooks need, and what tells about guests.
 */
export class ProxmoxHostAdapter implements HostAdapter {
  readonly type = "proxmox";
  readonly migration = new ProxmoxMigration();
  readonly makesCopiesItself = true;
  readonly #ports: ProxmoxPorts;
  readonly #guests: ProxmoxGuests;
  #start: string | undefined;

  /** @param places for tests */
  constructor(
    private readonly settings: Pick<EffectiveSettings, "proxmox">,
    ports: ProxmoxPorts,
    private readonly places = new ProxmoxPlaces(),
  ) {
    this.#ports = ports;
    this.#guests = new ProxmoxGuests(places);
  }

  /** A hook's process is for one start, whose directory for host secrets it remembers. */
  parseEvent(input: HookInput): LifecycleEvent {
    const { event, start } = parseEvent(input, (vmid, config) => this.#guests.of(vmid, config));
    this.#start = start;
    return event;
  }

  async identified(guest: Guest): Promise<Guest> {
    return await identify(guest, this.#surroundings(), "refuse");
  }

  confirm(): void {
    writeAll(STDOUT, CONFIRMATION);
  }

  keyInUse(record: KeyRecord, guest: Pick<Guest, "id" | "name">): KeyRecord | undefined {
    return inUse(record, guest);
  }

  prepared(guest: Guest): void {
    // Proxmox VE has the configuration locked until the guest has started
    if (!guest.arrives && hasStaleNotes(guest, this.settings.proxmox))
      this.#ports.leaveBehind({ command: "annotate", guest: guest.id });
  }

  async provideSecrets(
    guest: Pick<Guest, "id" | "name">,
    secrets: readonly HostSecret[],
    others?: "withdraw" | "keep",
  ): Promise<void> {
    await Promise.resolve();
    this.#secrets().provide(guest, secrets, others);
  }

  async providedSecrets(guest?: Pick<Guest, "id" | "name">): Promise<ProvidedSecret[]> {
    await Promise.resolve();
    return this.#secrets().provided(guest);
  }

  async withdrawSecrets(guest: Pick<Guest, "id" | "name">, uuids: readonly KeyUuid[]): Promise<void> {
    await Promise.resolve();
    this.#secrets().withdraw(guest, uuids);
  }

  async listGuests(): Promise<GuestSummary[]> {
    await Promise.resolve();
    return this.#guests.list();
  }

  /** Its configuration names no keys: they are of the headers of its volumes, as far as these can be read here. */
  async readGuest(nameOrId: string): Promise<ConfiguredGuest> {
    return await identify(this.#guests.read(nameOrId), this.#surroundings(), "leave-out");
  }

  /** What is plugged into a running guest is in its configuration as well. */
  readRunningGuest({ id }: Pick<Guest, "id" | "name">): Promise<Guest> {
    return this.readGuest(id);
  }

  annotate(): Promise<void> {
    return Promise.reject(unsupported("annotate a disk of a VM"));
  }

  unannotate(): Promise<void> {
    return Promise.reject(unsupported("take the annotation of a disk away"));
  }

  addDisk(): Promise<void> {
    return Promise.reject(unsupported("add a disk to a VM"));
  }

  removeDisk(): Promise<void> {
    return Promise.reject(unsupported("remove a disk of a VM"));
  }

  attachDisk(): Promise<void> {
    return Promise.reject(unsupported("attach a disk to a VM"));
  }

  detachDisk(): Promise<void> {
    return Promise.reject(unsupported("detach a disk from a VM"));
  }

  async underWay({ id }: Pick<Guest, "id" | "name">): Promise<UnderWay | undefined> {
    await Promise.resolve();
    if (startsIn(this.places, id).some((start) => isUnderWay(start))) return "starting";
    const lock = this.#guests.config(this.#guests.find(id))?.options["lock"];
    return lock === undefined ? undefined : "leaving";
  }

  diskSize(): Promise<bigint> {
    return Promise.reject(unsupported("ask a VM for the size of a disk"));
  }

  resizeDisk(): Promise<void> {
    return Promise.reject(unsupported("resize a disk of a VM"));
  }

  async dataPlaces(guest: ConfiguredGuest): Promise<DataPlace[]> {
    const { dataPlacesOf } = await import("./data-places.js");
    return dataPlacesOf(guest, {
      storages: this.#guests.storages(),
      file: this.#guests.config(this.#guests.find(guest.id)),
      places: this.places,
    });
  }

  savedMemory({ configuration }: Pick<Guest, "configuration">): string | undefined {
    const { vmstate } = optionsOf(configuration);
    return vmstate === undefined || this.#isEncrypted(vmstate) ? undefined : vmstate;
  }

  savesEncrypted({ configuration }: Pick<Guest, "configuration">): boolean {
    const { vmstate } = optionsOf(configuration);
    return vmstate !== undefined && this.#isEncrypted(vmstate);
  }

  async versions(): Promise<HostVersions> {
    const { askVersions } = await import("./versions.js");
    return await askVersions(this.#ports.runner);
  }

  checks(settings: Pick<EffectiveSettings, "keystores">): HostCheck[] {
    const [storages, nodes] = [this.#guests.storages(), this.#guests.nodes()];
    return proxmoxChecks({ places: this.places, storages, nodes, settings });
  }

  async reap(manner: "apply" | "dry-run"): Promise<Reaped[]> {
    const { reapProxmox } = await import("./reap.js");
    return await reapProxmox(manner, this.places, this.#ports.runner);
  }

  registration(): Promise<Registration> {
    return this.#installation().registration();
  }

  reaperRegistration(): ReaperRegistration {
    return this.#installation().reaperRegistration();
  }

  install(mode: "apply" | "dry-run"): Promise<InstallResult> {
    return this.#installation().install(mode);
  }

  uninstall(mode: "apply" | "dry-run", whenNeeded?: "refuse" | "go on"): Promise<InstallResult> {
    return this.#installation().uninstall(mode, whenNeeded);
  }

  #surroundings() {
    const storages = this.#guests.storages();
    const groups = encryptedGroups(storages, readStoragesRecord(this.places));
    return { volumes: this.#ports.storage(), storages, groups };
  }

  #installation(): ProxmoxInstallation {
    return new ProxmoxInstallation(this.#ports.runner, { ...SYSTEM, root: this.places.root });
  }

  #secrets(): ProxmoxSecrets {
    return new ProxmoxSecrets(this.places, this.#start);
  }

  #isEncrypted(volumeId: string): boolean {
    const storage = parseVolumeId(volumeId)?.storage;
    return storage !== undefined && this.#guests.storages().get(storage)?.encrypted !== undefined;
  }
}

/** @param configuration as `guestFromVmConfig` writes it */
function optionsOf(configuration: string): VmOptions {
  return parseVmConfig(configuration).options;
}
