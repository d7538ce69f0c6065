import type {
  Closed,
  MappingClaim,
  MappingRequest,
  Mappings,
} from "../../src/encryption/encryption-provider.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Secret } from "../../src/secret/secret.js";

/** Mappings in memory, for a machine without device-mapper: they keep the port's promises and decrypt nothing. */
export class FakeMappings implements Mappings {
  /** What is open now, by name. */
  readonly opened = new Map<string, MappingRequest>();
  /** Names of those that somebody else has open. */
  readonly busy = new Set<string>();
  /** Device name of the disk whose mapping cannot be opened. */
  refusedDisk: string | undefined;
  readonly resized: string[] = [];
  readonly #claims = new Map<string, MappingClaim>();

  open({ name, guest, disk, uuid, volume, ...rest }: MappingRequest, passphrase: Secret): Promise<void> {
    if (disk === this.refusedDisk)
      return Promise.reject(new LuksmithError("MAPPING_BUSY", { what: `cannot open mapping ${name}` }));
    passphrase.use(() => undefined);
    this.#claims.set(name, { name, guest, disk, uuid, volume: volume.path });
    this.opened.set(name, { name, guest, disk, uuid, volume, ...rest });
    return Promise.resolve();
  }

  close(name: string): Promise<Closed> {
    if (!this.#claims.has(name)) return Promise.resolve({ kind: "closed" });
    if (this.busy.has(name)) return Promise.resolve({ kind: "busy" });
    this.opened.delete(name);
    this.#claims.delete(name);
    return Promise.resolve({ kind: "closed" });
  }

  resize(name: string): Promise<void> {
    this.resized.push(name);
    return Promise.resolve();
  }

  hold<T>(_name: string, work: () => Promise<T>): Promise<T> {
    return work();
  }

  claims(guestId?: string): readonly MappingClaim[] {
    return [...this.#claims.values()].filter(({ guest }) => guestId === undefined || guest.id === guestId);
  }
}
