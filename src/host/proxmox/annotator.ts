import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { DiskNote } from "../../guest-config/proxmox/disk-notes.js";
import type { VmConfig } from "../../guest-config/proxmox/vm-config.js";
import type { Keyring } from "../../keystore/keyring.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import type { StorageRegistry } from "../../storage/storage-registry.js";
import { annotateGuest, type AnnotatedGuest } from "./annotate-guest.js";
import { diskNotesOf } from "./disk-notes-of.js";
import { type GuestFile, ProxmoxGuests } from "./guests.js";
import { identify } from "./identify.js";
import type { ProxmoxPlaces } from "./places.js";
import { isRunning } from "./running.js";

export interface AnnotatorPorts {
  readonly runner: CommandRunner;
  readonly storage: StorageRegistry;
  readonly keyring: Pick<Keyring, "locate">;
  readonly settings: Pick<EffectiveSettings, "proxmox" | "keystores">;
  readonly places: ProxmoxPlaces;
}

/** `remove`: guests say nothing about encryption any more, whatever the settings say. */
export interface AnnotateWish {
  readonly manner: "apply" | "dry-run";
  readonly notes: "bring-up-to-date" | "remove";
}

/** Keeps what descriptions and tags of this node's guests say about their encrypted disks. For people: nothing depends on it. */
export class ProxmoxAnnotator {
  readonly #guests: ProxmoxGuests;

  constructor(private readonly ports: AnnotatorPorts) {
    this.#guests = new ProxmoxGuests(ports.places);
  }

  /**
   * One guest after the other; one that fails is left, and hides no other.
   * @param vmids all guests of this node without them
   * @throws GUEST_NOT_FOUND for a VMID that no guest has
   */
  async annotate(vmids: readonly string[], wish: AnnotateWish): Promise<AnnotatedGuest[]> {
    const node = this.#guests.node();
    const files =
      vmids.length === 0
        ? this.#guests.files().filter((file) => file.node === node)
        : vmids.map((vmid) => this.#guests.find(vmid));
    const annotated: AnnotatedGuest[] = [];
    for (const file of files) {
      const guest = file.node === node ? await this.#one(file, wish) : elsewhere(file);
      if (guest !== undefined) annotated.push(guest);
    }
    return annotated;
  }

  async #one(file: GuestFile, { manner, notes }: AnnotateWish): Promise<AnnotatedGuest | undefined> {
    const { runner, places, settings } = this.ports;
    const isWanted = notes === "bring-up-to-date" && settings.proxmox.annotate;
    try {
      return await annotateGuest(
        file,
        {
          runner,
          read: (one) => this.#guests.config(one),
          isRunning: (vmid) => isRunning(vmid, places),
          notesOf: async (one, config) => (isWanted ? await this.#notesOf(one, config) : []),
        },
        manner,
      );
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError)) throw thrown;
      return leftFor(file, thrown);
    }
  }

  async #notesOf({ vmid }: GuestFile, { options }: VmConfig): Promise<DiskNote[]> {
    const { storage, keyring, settings } = this.ports;
    const guest = await identify(
      this.#guests.of(vmid, options),
      // notes are about encrypted disks alone
      { volumes: storage, storages: this.#guests.storages(), groups: new Set() },
      "leave-out",
    );
    const keystores = settings.keystores.map(({ name }) => name);
    return await diskNotesOf(guest, options["description"] ?? "", keyring, keystores);
  }
}

/** `qm` changes guests of its own node only. */
function elsewhere({ vmid, node }: GuestFile): AnnotatedGuest {
  return { vmid, name: vmid, disks: [], outcome: "left", why: `it is on node ${node}: run this there` };
}

function leftFor({ vmid }: GuestFile, thrown: LuksmithError): AnnotatedGuest {
  const { message, why } = asLuksmithError(thrown);
  const reason = why === undefined ? message : `${message}: ${why}`;
  return { vmid, name: vmid, disks: [], outcome: "left", why: reason };
}
