import type { CloneRequest } from "../../../generated/bridge-request.js";
import { volumeName } from "../../../storage/volume.js";
import { baseOf } from "../base/index.js";
import { requireClones } from "../snapshot/index.js";
import { openVolume } from "./opened-volume.js";
import { recordedChange } from "./record-change.js";
import type { BridgeResources, BridgeResult } from "./resources.js";
import { settleKeyOf } from "./settle-key.js";

/**
 * A linked clone begins with its template's blocks, its LUKS header among them: whoever has the key of one has the
 * other's too. @throws VOLUME_UNSUPPORTED, as `openVolume` and `CloneStorage.clone`
 */
export async function clone(request: CloneRequest, resources: BridgeResources): Promise<BridgeResult> {
  const { storage, volume: name, snapshot, to } = request;
  const base = baseOf(storage, resources);
  const clones = requireClones(base, resources);
  await using template = await openVolume(base, name, resources.storage);
  const sharesKeyWith = volumeName(base.volume(name));
  const detail = `a linked clone of ${sharesKeyWith}, with its key`;
  const made = { disk: to, volume: volumeName(base.volume(to)), key: template.header.uuid, detail };
  await recordedChange({ event: "clone", ...made }, resources, () => clones.clone(name, snapshot, to));
  await settleKeyOf(template.header.uuid, resources);
  resources.warn(
    `volume ${to} is a linked clone, and has its key in common with ${name}: whoever can open one can open both; ` +
      "a full clone gets a key of its own",
  );
  return { uuid: template.header.uuid, sharesKeyWith };
}
