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
import { LibvirtGuests } from "./guests.js";
import { HookShim, type ShimPlaces } from "./hook-shim.js";
import { LibvirtSecrets } from "./secrets.js";
import { askVersions } from "./versions.js";
import { Virsh } from "./virsh.js";

/** A host whose guests libvirtd (or virtqemud) runs. */
export class LibvirtHostAdapter implements HostAdapter {
  readonly type = "libvirt";
  readonly #virsh: Virsh;
  readonly #secrets: LibvirtSecrets;
  readonly #guests: LibvirtGuests;
  readonly #shim: HookShim;

  constructor(settings: Pick<EffectiveSettings, "libvirtUri">, runner: CommandRunner, places?: ShimPlaces) {
    this.#virsh = new Virsh(settings.libvirtUri, runner);
    this.#secrets = new LibvirtSecrets(this.#virsh);
    this.#guests = new LibvirtGuests(this.#virsh);
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

  listGuests(): Promise<GuestSummary[]> {
    return this.#guests.list();
  }

  readGuest(nameOrId: string): Promise<ConfiguredGuest> {
    return this.#guests.read(nameOrId);
  }

  annotate(guest: Guest, blocks: ReadonlyMap<string, EncryptionBlock>): Promise<void> {
    return this.#guests.annotate(guest, blocks);
  }

  unannotate(guest: Guest, blocks: ReadonlyMap<string, EncryptionBlock>): Promise<void> {
    return this.#guests.unannotate(guest, blocks);
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
}
