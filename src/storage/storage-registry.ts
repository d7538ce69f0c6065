import { LuksmithError } from "../error/luksmith-error.js";
import type { StorageBackend } from "./storage-backend.js";
import { type Volume, volumeName } from "./volume.js";

/** Which storage backend a volume belongs to. */
export class StorageRegistry {
  /**
   * Asked in this order. Two of one type are a mistake of the program.
   * @param unformatted types whose volumes the settings let nobody format
   */
  constructor(
    private readonly backends: readonly StorageBackend[],
    private readonly unformatted: ReadonlySet<string> = new Set(),
  ) {
    const types = backends.map(({ type }) => type);
    const twice = types.find((type, index) => types.indexOf(type) !== index);
    if (twice !== undefined) throw new Error(`storage backend ${twice} is registered twice`);
  }

  all(): readonly StorageBackend[] {
    return this.backends;
  }

  /** @throws VOLUME_UNSUPPORTED, naming the backends that there are */
  async backendFor(volume: Volume): Promise<StorageBackend> {
    const backend = await this.findBackend(volume);
    if (backend !== undefined) return backend;
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `cannot encrypt ${volumeName(volume)}`,
      why: `it belongs to none of the storage backends: ${this.backends.map(({ type }) => type).join(", ")}`,
    });
  }

  /** As backendFor, for a volume that is to be formatted. @throws VOLUME_FORMAT_FORBIDDEN too */
  async formattingBackendFor(volume: Volume): Promise<StorageBackend> {
    const backend = await this.backendFor(volume);
    this.requireFormatting(backend, volume);
    return backend;
  }

  /** For a volume that may not be there yet. @throws VOLUME_FORMAT_FORBIDDEN */
  requireFormatting(backend: StorageBackend, volume: Volume): void {
    if (!this.unformatted.has(backend.type)) return;
    throw new LuksmithError("VOLUME_FORMAT_FORBIDDEN", {
      what: `cannot format volume ${volumeName(volume)}`,
      why: `the settings say never to format volumes of storage ${backend.type}`,
      hint: `set storage.${backend.type}.formatting to new-volumes, or use other storage`,
    });
  }

  /** Undefined for a volume that no storage backend accepts. */
  async findBackend(volume: Volume): Promise<StorageBackend | undefined> {
    for (const backend of this.backends) if (await backend.accepts(volume)) return backend;
    return undefined;
  }
}
