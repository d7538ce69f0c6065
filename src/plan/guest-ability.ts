import { existsSync } from "node:fs";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { ProviderName } from "../encryption/encryption-provider.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { type Trait, traitsOf } from "../encryption/traits.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { findTool, missingTool } from "../exec/tools.js";
import type { Guest, Registration } from "../host/host-adapter.js";
import type { Keyring, Location } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests, type RequestSettings } from "../request/resolve.js";
import { requiredTraits } from "../request/traits.js";
import type { StorageRegistry } from "../storage/index.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { volumeName } from "../storage/volume.js";
import { withFittingLegacy } from "./fitting-legacy.js";
import {
  type NewDiskAbility,
  providerForNew,
  refuseUnableMapping,
  refuseUnmetFormat,
  requireTrait,
} from "./host-ability.js";
import { refuseUnannotated } from "./refusals.js";

/** Whether this host could run a guest, as far as that can be told without reading its volumes. */
export interface GuestAbility {
  /** What its flavor, image and metadata demand of any host. */
  readonly requires: readonly Trait[];
  readonly disks: readonly DiskAbility[];
  /** Why it could not; empty if it could. */
  readonly problems: readonly LuksmithError[];
}

export interface DiskAbility {
  readonly disk: DiskMapping;
  readonly request: EncryptionRequest | undefined;
  /** What this host must offer for it, as it is annotated, or would be by `luksmith protect` here. */
  readonly traits: readonly Trait[];
  readonly format: EncryptionFormat | undefined;
  /** Who would decrypt it here; undefined for a disk that needs nobody, and where nobody can. */
  readonly provider: ProviderName | undefined;
  /** Of a disk that is, or must be, encrypted; undefined where none takes its volume. */
  readonly backend: string | undefined;
  /** Who has its key; undefined where nobody was asked. */
  readonly key: Location["kind"] | undefined;
  /** The keystore that has its key, or that a new key would go to. */
  readonly keystore: string | undefined;
}

export interface AbilitySources {
  readonly storage: StorageRegistry;
  readonly settings: RequestSettings;
  readonly ability: NewDiskAbility;
  /** Asked for the keys of the guest's disks, if it is given. */
  readonly keyring?: Keyring;
  readonly registration: () => Promise<Registration>;
}

/**
 * Collects all that speaks against a start, and goes on after each. A disk that must be encrypted and is not speaks
 * against none where `luksmith protect` could encrypt it; where it must be moved, it does.
 */
export async function abilityFor(guest: Guest, sources: AbilitySources): Promise<GuestAbility> {
  const requires = requiredTraits(guest.asks);
  let requests: ReadonlyMap<string, EncryptionRequest>;
  try {
    requests = await withFittingLegacy(guest, resolveRequests(guest, sources.settings), sources.storage);
  } catch (thrown) {
    return { requires, disks: [], problems: [asLuksmithError(thrown)] };
  }
  const problems = new Problems();
  const disks: DiskAbility[] = [];
  for (const disk of Object.values(guest.disks.mapping)) {
    disks.push(await ofDisk({ guest, disk, request: requests.get(disk.dev) }, sources, problems));
  }
  const judged = [...requests].filter(([dev]) => {
    const disk = guest.disks.mapping[dev];
    return disk?.encryption_secret_uuid !== undefined || (disk !== undefined && isToBeMoved(guest, disk));
  });
  await problems.unless(() => {
    refuseUnannotated(guest, new Map(judged));
  });
  if (disks.some(needsHook)) await problems.unless(async () => requireHook(await sources.registration()));
  return { requires, disks, problems: problems.found };
}

/** Collects what is thrown. */
class Problems {
  readonly found: LuksmithError[] = [];

  async unless<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (thrown) {
      this.found.push(asLuksmithError(thrown));
      return undefined;
    }
  }
}

interface Question {
  readonly guest: Guest;
  readonly disk: DiskMapping;
  readonly request: EncryptionRequest | undefined;
}

async function ofDisk(asked: Question, sources: AbilitySources, problems: Problems): Promise<DiskAbility> {
  const { disk } = asked;
  const question = isToBeMoved(asked.guest, disk) ? { ...asked, request: undefined } : asked;
  const { request } = question;
  const { encryption_secret_uuid: uuid } = disk;
  const format = disk.encryption_format ?? request?.format;
  const isOurs = request !== undefined || disk.mapping !== undefined;
  const provider = await problems.unless(() => providerOf(question, sources.ability));
  const backend = isOurs ? await problems.unless(() => backendOf(question, sources.storage)) : undefined;
  const located = uuid && (await locate(uuid, question, sources.keyring, problems));
  for (const base of disk.backingSecretUuids ?? []) await locate(base, question, sources.keyring, problems);
  return {
    ...{ disk, request: asked.request, provider, backend, format },
    traits: format === undefined ? [] : traitsOf([format]),
    key: located?.kind,
    keystore: uuid === undefined ? request?.keystore : located?.kind === "found" ? located.name : undefined,
  };
}

/** Where storage encrypts, nobody encrypts a volume that is on another. */
function isToBeMoved({ encryptedStorages }: Guest, { encrypted }: DiskMapping): boolean {
  return encryptedStorages !== undefined && !encrypted;
}

/** @throws TRAIT_MISSING, VOLUME_UNSUPPORTED */
async function providerOf(
  { guest, disk, request }: Question,
  ability: NewDiskAbility,
): Promise<ProviderName | undefined> {
  if (disk.encryption_secret_uuid === undefined) {
    return request === undefined ? undefined : await providerForNew(guest, disk, request, ability);
  }
  if (request !== undefined) await refuseUnmetFormat(guest, disk, ability);
  if (disk.mapping !== undefined) {
    await refuseUnableMapping(guest, disk, ability);
    return "dm-crypt";
  }
  // another engine, and another format, are for QEMU's drivers to know
  if (disk.encryption_format !== "luks" || disk.encryption_options?.["engine"] !== undefined) return "native";
  await requireTrait("native", "luks", `disk ${disk.dev} of guest ${guest.name}`, ability);
  return "native";
}

/**
 * Undefined for a block device that is not here yet, and may become another backend's than it seems.
 * @throws VOLUME_UNSUPPORTED, VOLUME_FORMAT_FORBIDDEN, TOOL_MISSING
 */
async function backendOf(
  { guest, disk, request }: Question,
  storage: StorageRegistry,
): Promise<string | undefined> {
  const isNew = disk.encryption_secret_uuid === undefined;
  const task = `disk ${disk.dev} of guest ${guest.name}`;
  let backend: StorageBackend;
  try {
    backend = await (isNew ? storage.formattingBackendFor(disk.volume) : storage.backendFor(disk.volume));
  } catch (thrown) {
    throw asLuksmithError(thrown).within(task);
  }
  const format = disk.encryption_format ?? request?.format;
  if (format !== undefined && !backend.formats.includes(format)) {
    if (disk.volume.kind === "block" && !existsSync(disk.volume.path)) return undefined;
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${task}: ${volumeName(disk.volume)} cannot be encrypted as ${format}`,
      why: `storage backend ${backend.type} carries ${backend.formats.join(", ")} only`,
    });
  }
  const missing = backend.tools.find((tool) => findTool(tool) === undefined);
  if (missing === undefined) return backend.type;
  throw new LuksmithError("TOOL_MISSING", {
    what: `${task} is on storage ${backend.type}, which needs a program that this host lacks`,
    why: missingTool(missing),
  });
}

type Located =
  { readonly kind: "found"; readonly name: string } | { readonly kind: "unknown" | "unavailable" };

/** A key that no keystore has is no problem where nobody asked us for the disk: the block is another's. */
async function locate(
  uuid: KeyUuid,
  { guest, disk, request }: Question,
  keyring: Keyring | undefined,
  problems: Problems,
): Promise<Located | undefined> {
  if (keyring === undefined) return undefined;
  const location = await keyring.locate(uuid);
  const task = `disk ${disk.dev} of guest ${guest.name} needs key ${uuid}`;
  switch (location.kind) {
    case "found":
      location.key.passphrase.dispose();
      return { kind: "found", name: location.keystore.name };
    case "unavailable":
      problems.found.push(location.error.within(task));
      return { kind: "unavailable" };
    case "unknown":
      if (request !== undefined || disk.mapping !== undefined) problems.found.push(noKey(task));
      return { kind: "unknown" };
  }
}

function noKey(task: string): LuksmithError {
  return new LuksmithError("KEY_NOT_FOUND", {
    what: task,
    why: "no keystore of this host has it; it would start only if its volume were new and proven to be empty",
    hint: "give this host the settings of the keystore that has it",
  });
}

/** A disk whose key is ours, as far as is known here. */
function needsHook({ disk, request, key }: DiskAbility): boolean {
  return request !== undefined || disk.mapping !== undefined || key === "found";
}

function requireHook({ kind, path }: Registration): void {
  switch (kind) {
    case "registered":
    case "outdated":
      return;
    case "foreign":
    case "absent":
      throw new LuksmithError("HOOK_NOT_INSTALLED", {
        what: "the host manager would not ask luksmith when the guest starts",
        why: kind === "absent" ? `${path} does not exist` : `${path} is not ours`,
        hint: "see: luksmith doctor",
      });
  }
}
