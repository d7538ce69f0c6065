import { recorded } from "../../../audit/recorded.js";
import type { LuksSpec } from "../../../encryption/luks-spec.js";
import { asLuksmithError, LuksmithError } from "../../../error/luksmith-error.js";
import type { CreateRequest } from "../../../generated/bridge-request.js";
import type { KeyRecord } from "../../../generated/key-record.js";
import { keepMade } from "../../../headers/keep-made.js";
import { keyUuidOf, newKeyRecord } from "../../../keystore/key-record.js";
import { newKeyUuid } from "../../../keystore/key-uuid.js";
import { canDelete, type Keystore } from "../../../keystore/keystore.js";
import { Secret } from "../../../secret/secret.js";
import type { EffectiveProfile } from "../../../settings/settings.js";
import { allocatesEncrypted, canAllocate } from "../../../storage/storage-backend.js";
import { volumeName } from "../../../storage/volume.js";
import type { BaseStorage } from "../base/base-storage.js";
import { markBase } from "../base/base-mark.js";
import { baseOf } from "../base/index.js";
import { guestName } from "./guest-name.js";
import { refuseLostVolume } from "./lost-volume.js";
import { backendOf, claimedUuid } from "./opened-volume.js";
import { profileOf } from "./profile-of.js";
import type { BridgeResources, BridgeResult } from "./resources.js";

/** Bytes. */
const PAGE = 4096;

/**
 * Makes an encrypted volume: key, volume, header, in this order. What fails is undone in reverse. A kill leaves a key
 * that has encrypted nothing, or a volume without a header beside it, which `free` removes; or a volume that is
 * finished, whose key is still called pending.
 * @throws VOLUME_EXISTS (also of one whose base is away), VOLUME_ALLOCATE_FAILED, PROFILE_UNKNOWN, VOLUME_UNSUPPORTED (the profile's format),
 *   VOLUME_FORMAT_FORBIDDEN, what `createEncrypted` throws, and what keeps the keystore from taking the key
 */
export async function create(request: CreateRequest, resources: BridgeResources): Promise<BridgeResult> {
  const { storage, volume: name, size } = request;
  const base: BaseStorage = baseOf(storage, resources);
  const [volume, backend] = [base.volume(name), backendOf(base, resources.storage)];
  const { profile, spec } = profileOf(storage, resources.settings);
  if (!canAllocate(backend)) throw new Error(`storage backend ${backend.type} makes no volumes`);
  resources.storage.requireFormatting(backend, volume);
  const keystore = await resources.keyring.get(profile.keystore);
  await refuseLostVolume(storage, base, name, keystore);
  const record = recordFor(request, { profile, spec, volume: volumeName(volume) }, resources);
  const uuid = keyUuidOf(record);
  using passphrase = Secret.randomPassphrase();

  const undo = new Undoing(resources);
  try {
    const { id, name: called } = record.guest;
    const use = { guest: { id, name: called }, disk: name, volume: record.volume, key: uuid };
    await recorded(resources.audit, [{ event: "store", ...use, keystore: keystore.name }], async () => {
      await keystore.store({ record, passphrase });
      return undefined;
    });
    undo.add(`delete key ${uuid}`, () => deleteUnused(keystore, record, base, resources));
    await base.requireFree?.(name);
    const { pool } = base;
    const allocation = { volume, guestSize: wholePages(size), ...(pool === undefined ? {} : { pool }) };
    const format = { volume, uuid, spec, passphrase };
    // under a lock of the whole cluster, which Proxmox VE breaks after a minute: nothing may take as long as the volume is
    // large
    if (allocatesEncrypted(backend)) await backend.allocateEncrypted({ ...allocation, ...format });
    else await backend.allocate(allocation);
    undo.add(`remove volume ${volumeName(volume)}`, () => base.remove(name));
    const header = await backend.createEncrypted(format);
    await resources.audit.record({ event: "format", ...use, result: "done" });
    await keepMade({ backend, volume, uuid }, resources.headers, (message, { message: why }) =>
      resources.warn(`${message} (${why})`),
    );
    const seen = await backend.guestSize(volume, header);
    await keystore.change(uuid, (now) => ({ ...now, state: "active" }));
    if (storage.base.type === "directory") markBase(storage.base.path);
    return { uuid, size: Number(seen) };
  } catch (thrown) {
    await undo.run();
    throw asLuksmithError(thrown).within(`cannot make volume ${name} on storage ${storage.id}`);
  }
}

/** QEMU reads an export past the page cache in pages, and cannot write the last one of a disk that ends within it. */
function wholePages(size: number): bigint {
  return BigInt(Math.ceil(size / PAGE) * PAGE);
}

/** What has been done, undone in reverse; what cannot be undone keeps what was before it, and is a warning. */
class Undoing {
  readonly #steps: { readonly what: string; readonly undo: () => Promise<void> }[] = [];

  constructor(private readonly resources: Pick<BridgeResources, "warn">) {}

  add(what: string, undo: () => Promise<void>): void {
    this.#steps.push({ what, undo });
  }

  async run(): Promise<void> {
    for (const { what, undo } of this.#steps.toReversed()) {
      try {
        await undo();
      } catch (thrown) {
        const { message, why } = asLuksmithError(thrown);
        this.resources.warn(`could not ${what} again: ${message}${why === undefined ? "" : `: ${why}`}`);
        return;
      }
    }
  }
}

/** Unless the volume has its header and could not be removed again: nothing else is encrypted under it. */
async function deleteUnused(
  keystore: Keystore,
  record: KeyRecord,
  base: BaseStorage,
  { storage }: Pick<BridgeResources, "storage">,
): Promise<void> {
  const uuid = keyUuidOf(record);
  const claimed = await claimedUuid(base, record.disk, storage);
  if (claimed.kind === "unreadable" || (claimed.kind === "claimed" && claimed.uuid === uuid)) {
    throw new LuksmithError("KEY_IN_USE", {
      what: `key ${uuid} is kept`,
      why: `volume ${record.volume} is there, and may have it`,
    });
  }
  if (canDelete(keystore)) await keystore.delete(uuid);
}

interface RecordFacts {
  readonly profile: EffectiveProfile;
  readonly spec: LuksSpec;
  readonly volume: string;
}

function recordFor(
  { vmid, volume: disk }: CreateRequest,
  { profile, spec, volume }: RecordFacts,
  { clock, places }: BridgeResources,
): KeyRecord {
  const id = String(vmid);
  const request = { ...spec, disk, profile: profile.name, keystore: profile.keystore, askedBy: [] };
  const guest = { id, name: guestName(places, id) };
  return newKeyRecord({ uuid: newKeyUuid(), guest, disk, volume, request, now: clock.now() });
}
