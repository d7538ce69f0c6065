import type { LuksHeader } from "../../../encryption/luks-header.js";
import type { KeyUuid } from "../../../keystore/key-uuid.js";
import type { StorageBackend } from "../../../storage/storage-backend.js";
import type { StorageRegistry } from "../../../storage/storage-registry.js";
import { type Volume, volumeName } from "../../../storage/volume.js";
import { notFormatted } from "../../../storage/volume-error.js";
import type { BaseStorage } from "../base/base-storage.js";

/** The storage backend of a base's volumes, which need not be there yet. */
export function backendOf({ type }: Pick<BaseStorage, "type">, storage: StorageRegistry): StorageBackend {
  const name = type === "directory" ? "raw" : type;
  const backend = storage.all().find((candidate) => candidate.type === name);
  if (backend === undefined) throw new Error(`no storage backend is registered for a base of type ${type}`);
  return backend;
}

/** A volume whose LUKS header was read. It can be read until it is disposed of. */
export interface OpenedVolume extends AsyncDisposable {
  readonly volume: Volume;
  readonly backend: StorageBackend;
  readonly header: LuksHeader;
}

/** @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_NOT_FORMATTED, LUKS_HEADER_INVALID */
export async function openVolume(
  base: BaseStorage,
  name: string,
  storage: StorageRegistry,
): Promise<OpenedVolume> {
  const [volume, backend] = [base.volume(name), backendOf(base, storage)];
  const activation = await base.activate(name);
  try {
    const probe = await backend.probe(volume, "header");
    if (probe.kind !== "luks") throw notFormatted(volumeName(volume), probe);
    const { header } = probe;
    return { volume, backend, header, [Symbol.asyncDispose]: () => activation[Symbol.asyncDispose]() };
  } catch (thrown) {
    await activation[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** Whose key a volume's header says that it needs. */
export type Claimed =
  | { readonly kind: "claimed"; readonly uuid: KeyUuid }
  /** It has no header, or is gone. */
  | { readonly kind: "none" }
  /** Nobody can tell: the volume, or the part of its header that says it. */
  | { readonly kind: "unreadable" };

export function keyIn(claimed: Claimed): KeyUuid | undefined {
  return claimed.kind === "claimed" ? claimed.uuid : undefined;
}

/** By the volume's header, damaged or not. Never throws for what the volume is or is not. */
export async function claimedUuid(
  base: BaseStorage,
  name: string,
  storage: StorageRegistry,
): Promise<Claimed> {
  const probe = await backendOf(base, storage).probe(base.volume(name), "header");
  switch (probe.kind) {
    case "luks":
      return { kind: "claimed", uuid: probe.header.uuid };
    case "bad-luks":
      return probe.claimedUuid === undefined
        ? { kind: "unreadable" }
        : { kind: "claimed", uuid: probe.claimedUuid };
    case "empty":
    case "allocated":
    case "data":
    case "absent":
      return { kind: "none" };
    case "unreadable":
      return { kind: "unreadable" };
  }
}
