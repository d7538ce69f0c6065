import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { missingMount } from "../../fs/missing-mount.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { ProxmoxStorage } from "../../generated/proxmox-storage.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { StorageRegistry } from "../../storage/storage-registry.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import { baseMark } from "./base/base-mark.js";
import { baseOf } from "./base/index.js";
import { claimedUuid } from "./bridge/opened-volume.js";
import { namedIn } from "./bridge/volume-keys.js";
import { ProxmoxGuests } from "./guests.js";
import type { ProxmoxPlaces } from "./places.js";
import { readStoragesRecord } from "./read-storages-record.js";

interface Resources {
  readonly runner: CommandRunner;
  readonly storage: StorageRegistry;
  readonly places: ProxmoxPlaces;
}

/** What the headers on a base say; `isAll` unless something there cannot be looked at. */
interface Seen {
  readonly uuids: ReadonlySet<KeyUuid>;
  readonly isAll: boolean;
}

const UNKNOWN: Seen = { uuids: new Set(), isAll: false };

/**
 * The volumes of all encrypted storages that this node has, those that storage.cfg names and those that our record
 * does: a volume can be moved by hand, with its header. Each base is looked at once at most.
 */
export class VolumesHere {
  readonly #guests: ProxmoxGuests;
  readonly #bases = new Map<string, Promise<Seen>>();
  #storages: ProxmoxStorage[] | "unknown" | undefined;
  #used: Promise<Seen> | undefined;

  constructor(private readonly resources: Resources) {
    this.#guests = new ProxmoxGuests(resources.places);
  }

  /** Whether a volume has the key's UUID. `unknown` as well where this node does not see where the key's volume was. */
  async look(record: KeyRecord): Promise<"there" | "gone" | "unknown"> {
    const uuid = keyUuidOf(record);
    const storages = (this.#storages ??= this.#storagesHere());
    if (storages === "unknown") return "unknown";
    const seen = await Promise.all([
      ...storages.map((storage) => this.#seenOn(storage)),
      this.#seenByGuests(),
    ]);
    if (seen.some(({ uuids }) => uuids.has(uuid))) return "there";
    const isHere = storages.some((storage) => this.#isPlaceOf(record, storage));
    return isHere && seen.every(({ isAll }) => isAll) ? "gone" : "unknown";
  }

  /** Of all that name a base once each. */
  #storagesHere(): ProxmoxStorage[] | "unknown" {
    const record = readStoragesRecord(this.resources.places);
    if (record.kind === "damaged") return "unknown";
    try {
      const configured = this.#guests.storages();
      const node = this.#guests.node();
      const isElsewhere = ({ id }: ProxmoxStorage) => configured.get(id)?.nodes?.includes(node) === false;
      const sections = [...configured.values()];
      // of a section that cannot be read nobody knows what is there
      if (sections.some(({ problem }) => problem !== undefined)) return "unknown";
      const recorded = record.kind === "known" ? record.storages : [];
      const all = [...sections.flatMap(({ encrypted }) => encrypted ?? []), ...recorded];
      return all.filter((storage) => !isElsewhere(storage));
    } catch (thrown) {
      unlessUnreadable(thrown);
      return "unknown";
    }
  }

  #isPlaceOf(record: KeyRecord, { base, ...storage }: ProxmoxStorage): boolean {
    if (record.freedBy !== undefined && record.freedBy !== this.#guests.node()) return false;
    if (namedIn(baseOf({ ...storage, base }, this.#ports()), record) === undefined) return false;
    return (
      record.freedFrom === undefined ||
      (base.type === "directory" && baseMark(base.path) === record.freedFrom)
    );
  }

  #seenOn(storage: ProxmoxStorage): Promise<Seen> {
    const id = JSON.stringify(storage.base);
    const known = this.#bases.get(id) ?? this.#read(storage).catch(unlessUnreadable);
    this.#bases.set(id, known);
    return known;
  }

  async #read({ base: place }: ProxmoxStorage): Promise<Seen> {
    const base = baseOf({ base: place }, this.#ports());
    const uuids = new Set<KeyUuid>();
    let isAll = true;
    // one after the other: this is for nobody who waits
    for (const name of await base.list()) {
      const claimed = await claimedUuid(base, name, this.resources.storage);
      if (claimed.kind === "unreadable") isAll = false;
      if (claimed.kind === "claimed") uuids.add(claimed.uuid);
    }
    // an empty mount point proves nothing
    const isPlace =
      place.type !== "directory" ||
      (missingMount(place.path) === undefined && baseMark(place.path) !== undefined);
    return { uuids, isAll: isAll && isPlace };
  }

  #seenByGuests(): Promise<Seen> {
    return (this.#used ??= this.#readGuests().catch(unlessUnreadable));
  }

  /** What guests of any node have as disks, whatever it is called; a disk that cannot be read is on one of the bases. */
  async #readGuests(): Promise<Seen> {
    const uuids = new Set<KeyUuid>();
    for (const { id } of this.#guests.list()) {
      const { mapping } = this.#guests.read(id).disks;
      const volumes = Object.values(mapping).filter(({ encrypted }) => encrypted);
      for (const { volume } of volumes.filter(({ volume: { kind } }) => kind !== "other")) {
        const backend = await this.resources.storage.backendFor(volume);
        const probe = await backend.probe(volume, "header");
        if (probe.kind === "luks") uuids.add(probe.header.uuid);
      }
    }
    return { uuids, isAll: true };
  }

  #ports() {
    const { runner } = this.resources;
    return { runner, locks: new VolumeLocks(runner) };
  }
}

function unlessUnreadable(thrown: unknown): Seen {
  if (!(thrown instanceof LuksmithError)) throw thrown;
  return UNKNOWN;
}
