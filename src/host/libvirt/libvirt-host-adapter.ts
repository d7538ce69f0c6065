import type { CommandRunner } from "../../exec/command-runner.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import type {
  ConfiguredGuest,
  EncryptionBlock,
  Guest,
  GuestSummary,
  HookInput,
  HostAdapter,
  HostSecret,
  HostVersions,
  InstallResult,
  LifecycleEvent,
  ProvidedSecret,
  Registration,
} from "../host-adapter.js";
import { parseEvent } from "./events.js";
import type { LibvirtGuests } from "./guests.js";
import { HookShim, type ShimPlaces } from "./hook-shim.js";
import { LibvirtSecrets } from "./secrets.js";
import { askVersions } from "./versions.js";
import { Virsh } from "./virsh.js";

/** A host whose guests libvirtd (or virtqemud) runs. */
export class LibvirtHostAdapter implements HostAdapter {
  readonly type = "libvirt";
  readonly #virsh: Virsh;
  readonly #secrets: LibvirtSecrets;
  readonly #shim: HookShim;

  constructor(settings: Pick<EffectiveSettings, "libvirtUri">, runner: CommandRunner, places?: ShimPlaces) {
    this.#virsh = new Virsh(settings.libvirtUri, runner);
    this.#secrets = new LibvirtSecrets(this.#virsh);
    this.#shim = new HookShim(places);
  }

  parseEvent(input: HookInput): LifecycleEvent {
    return parseEvent(input);
  }

  provideSecrets(guest: Pick<Guest, "id" | "name">, secrets: readonly HostSecret[]): Promise<void> {
    return this.#secrets.provide(guest, secrets);
  }

  providedSecrets(guestId?: string): Promise<ProvidedSecret[]> {
    return this.#secrets.provided(guestId);
  }

  withdrawSecrets(uuids: readonly KeyUuid[]): Promise<void> {
    return this.#secrets.withdraw(uuids);
  }

  async listGuests(): Promise<GuestSummary[]> {
    return (await this.#guests()).list();
  }

  async readGuest(nameOrId: string): Promise<ConfiguredGuest> {
    return (await this.#guests()).read(nameOrId);
  }

  async annotate(guest: Guest, blocks: ReadonlyMap<string, EncryptionBlock>): Promise<void> {
    return (await this.#guests()).annotate(guest, blocks);
  }

  async unannotate(guest: Guest, blocks: ReadonlyMap<string, EncryptionBlock>): Promise<void> {
    return (await this.#guests()).unannotate(guest, blocks);
  }

  versions(): Promise<HostVersions> {
    return askVersions(this.#virsh);
  }

  registration(): Promise<Registration> {
    return this.#shim.registration();
  }

  install(mode: "apply" | "dry-run"): Promise<InstallResult> {
    return this.#shim.install(mode);
  }

  uninstall(mode: "apply" | "dry-run"): Promise<InstallResult> {
    return this.#shim.uninstall(mode);
  }

  /** Loaded when it is asked for: no hook asks, and its XML library takes nearly as long as starting Node. */
  async #guests(): Promise<LibvirtGuests> {
    const { LibvirtGuests } = await import("./guests.js");
    return new LibvirtGuests(this.#virsh);
  }
}
