import { neverRefusing, useOfRecord } from "../../../audit/recorded.js";
import { asLuksmithError } from "../../../error/luksmith-error.js";
import type { FreeRequest } from "../../../generated/bridge-request.js";
import { keyUuidOf } from "../../../keystore/key-record.js";
import { canDelete } from "../../../keystore/keystore.js";
import { volumeName } from "../../../storage/volume.js";
import { type AnyBase, baseOf } from "../base/index.js";
import { announceFreedKey } from "../freed-keys.js";
import { snapshotsOf } from "../snapshot/index.js";
import { closeExports } from "./exports.js";
import { claimedUuid, keyIn } from "./opened-volume.js";
import { recordedChange } from "./record-change.js";
import type { BridgeResources, BridgeResult } from "./resources.js";
import { type FreedMark, freedMark } from "./freed-mark.js";
import { keysOf, namedIn, unfreed, type VolumeKey } from "./volume-keys.js";

/** Volumes that come and go by themselves: saved memory, and what a backup keeps of a running guest. */
const PASSING = /^vm-[0-9]+-(?:state|fleece)-/;

/**
 * Destroys a volume with its snapshots, finished or not. Its key is marked as freed before that: killed in between, the
 * volume is there with a key that is kept, and the next `free` goes on. The key of a linked clone is its template's.
 * @throws as `BaseStorage.remove`
 */
export async function free(request: FreeRequest, resources: BridgeResources): Promise<BridgeResult> {
  const { storage, volume: name } = request;
  const base = baseOf(storage, resources);
  await closeExports(request, resources);
  await base.requireUnused(name);
  const claimed = await claimedUuid(base, name, resources.storage);
  const keys = await ownKeys(base, name, await keysOf(base.volume(name), claimed, resources));
  await markFreed(keys, freedMark(storage, resources), resources);
  const change = { event: "free", disk: name, volume: volumeName(base.volume(name)) } as const;
  await recordedChange({ ...change, key: keyIn(claimed) }, resources, async () => {
    try {
      await removeSnapshots(base, name, resources);
      await base.remove(name);
    } catch (thrown) {
      // without its header it is destroyed, whatever else could not be done
      if ((await claimedUuid(base, name, resources.storage)).kind !== "none") await unmark(keys, resources);
      throw thrown;
    }
  });
  if (PASSING.test(name)) await forget(keys, resources);
  else announceFreedKey(resources.places);
  return {};
}

/** With what Proxmox VE forgets by freeing the volume; a template's own first, which linked clones hold. */
async function removeSnapshots(base: AnyBase, name: string, resources: BridgeResources): Promise<void> {
  const storage = snapshotsOf(base, resources);
  if (storage === undefined || !(await base.list()).includes(name)) return;
  const all = await storage.snapshots(name);
  const isTemplates = (snapshot: string) => snapshot === "__base__";
  for (const snapshot of [...all.filter(isTemplates), ...all.filter((other) => !isTemplates(other))])
    await storage.deleteSnapshot(name, snapshot);
}

/** Without those of another volume that is there: its linked clones share its header. */
async function ownKeys(base: AnyBase, name: string, keys: readonly VolumeKey[]): Promise<VolumeKey[]> {
  const others = keys.map(({ record }) => namedIn(base, record)).filter((other) => other !== name);
  const there = others.length === 0 ? [] : await base.list();
  return keys.filter(({ record }) => {
    const owner = namedIn(base, record);
    // one that was renamed, and whose record was not written any more, is this volume
    return owner === name || (owner !== undefined && !there.includes(owner));
  });
}

async function markFreed(
  keys: readonly VolumeKey[],
  mark: FreedMark,
  { warn }: BridgeResources,
): Promise<void> {
  for (const { keystore, record } of keys) {
    try {
      // anew where an earlier call was cut short: the volume is destroyed now
      await keystore.change(keyUuidOf(record), (now) => ({ ...now, ...mark }));
    } catch (thrown) {
      const { message } = asLuksmithError(thrown);
      warn(`key ${record.uuid} stays in keystore ${keystore.name} until somebody deletes it: ${message}`);
    }
  }
}

/** The volume is there still, also where an earlier call was cut short. */
async function unmark(keys: readonly VolumeKey[], { warn }: BridgeResources): Promise<void> {
  for (const { keystore, record } of keys) {
    try {
      await keystore.change(keyUuidOf(record), unfreed);
    } catch (thrown) {
      warn(`key ${record.uuid} is still marked as freed: ${asLuksmithError(thrown).message}`);
    }
  }
}

async function forget(keys: readonly VolumeKey[], { audit, warn }: BridgeResources): Promise<void> {
  for (const { keystore, record } of keys) {
    try {
      if (!canDelete(keystore)) continue;
      await keystore.delete(keyUuidOf(record));
      await neverRefusing(audit, warn).record({
        ...useOfRecord("delete", record, keystore.name),
        result: "done",
      });
    } catch (thrown) {
      warn(`key ${record.uuid} is kept for now: ${asLuksmithError(thrown).message}`);
    }
  }
}
