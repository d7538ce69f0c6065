import { asLuksmithError } from "../../../error/luksmith-error.js";
import type { RenameRequest } from "../../../generated/bridge-request.js";
import type { KeyRecord } from "../../../generated/key-record.js";
import { keyUuidOf } from "../../../keystore/key-record.js";
import { volumeName } from "../../../storage/volume.js";
import { baseOf } from "../base/index.js";
import { snapshotsOf } from "../snapshot/index.js";
import { closeExports } from "./exports.js";
import { guestName } from "./guest-name.js";
import { claimedUuid, keyIn } from "./opened-volume.js";
import { recordedChange } from "./record-change.js";
import type { BridgeResources, BridgeResult } from "./resources.js";
import { keysOf, namedIn } from "./volume-keys.js";

/**
 * Gives the volume another name and another guest, or makes it a template; then its key's record says so too. Killed
 * in between, the record is behind, and nothing else depends on it: the header tells which key opens the volume.
 * @throws as `BaseStorage.rename` and `CloneStorage.makeTemplate`
 */
export async function rename(request: RenameRequest, resources: BridgeResources): Promise<BridgeResult> {
  const { op, storage, volume: name, to, vmid } = request;
  const base = baseOf(storage, resources);
  await closeExports(request, resources);
  const claimed = await claimedUuid(base, name, resources.storage);
  const clones = op === "template" ? snapshotsOf(base, resources) : undefined;
  const change = {
    event: "rename",
    ...{ disk: to, volume: volumeName(base.volume(to)) },
    ...{ key: keyIn(claimed), detail: `${op} of ${volumeName(base.volume(name))}` },
  } as const;
  await recordedChange(change, resources, async () => {
    // where there are no linked clones, a template is a volume as any other, of which full clones are made
    if (clones === undefined) await base.rename(name, to);
    else await clones.makeTemplate(name, to);
  });
  const id = String(vmid);
  const now: Pick<KeyRecord, "guest" | "disk" | "volume"> = {
    guest: { id, name: guestName(resources.places, id) },
    disk: to,
    volume: volumeName(base.volume(to)),
  };
  const keys = await keysOf(base.volume(name), claimed, resources);
  for (const { keystore, record } of keys) {
    // the key of a linked clone stays its template's
    if (namedIn(base, record) !== name) continue;
    try {
      await keystore.change(keyUuidOf(record), (other) => ({ ...other, ...now }));
    } catch (thrown) {
      const { message } = asLuksmithError(thrown);
      resources.warn(
        `key ${record.uuid} in keystore ${keystore.name} still names volume ${name}: ${message}`,
      );
    }
  }
  return {};
}
