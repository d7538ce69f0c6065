import type { CloseRequest, OpenRequest } from "../../../generated/bridge-request.js";
import { baseOf } from "../base/index.js";
import { closeExport } from "../export/close-export.js";
import { openExport } from "../export/open-export.js";
import type { Found, Keyring } from "../../../keystore/keyring.js";
import type { BridgeResources, BridgeResult } from "./resources.js";
import { keystoreOf, settle } from "./settle-key.js";

/** @throws as `openExport` */
export async function open(request: OpenRequest, resources: BridgeResources): Promise<BridgeResult> {
  const base = baseOf(request.storage, resources);
  let found: Found | undefined;
  const locate: Keyring["locate"] = async (uuid, preferred) => {
    const location = await resources.keyring.locate(uuid, preferred);
    if (location.kind === "found") found = location;
    return location;
  };
  const path = await openExport(request, { ...resources, base, keyring: { locate } });
  // none was asked for where the volume is open already
  if (found !== undefined) await settle({ record: found.key.record, keystore: keystoreOf(found) }, resources);
  return { path };
}

/** @throws as `closeExport` */
export async function close(request: CloseRequest, resources: BridgeResources): Promise<BridgeResult> {
  await closeExport(request, resources);
  return {};
}
