import { type PlannedUse, recordFailure, useOfRecord } from "../../../audit/recorded.js";
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
  resources.audit.requireWritable();
  const path = await openExport(request, { ...resources, base, keyring: { locate } }).catch(
    async (thrown: unknown) => {
      if (found !== undefined) await recordFailure(resources.audit, [useOf(found)], thrown);
      throw thrown;
    },
  );
  // none was asked for where the volume is open already
  if (found !== undefined) {
    await record(request, found, resources);
  }
  if (found !== undefined) await settle({ record: found.key.record, keystore: keystoreOf(found) }, resources);
  return { path };
}

/** What cannot be recorded, though the settings require it, is closed again. @throws AUDIT_UNWRITABLE */
async function record(request: OpenRequest, found: Found, resources: BridgeResources): Promise<void> {
  try {
    await resources.audit.record({ ...useOf(found), result: "done" });
  } catch (thrown) {
    await closeExport(request, resources);
    throw thrown;
  }
}

function useOf(found: Found): PlannedUse {
  const { keystore, cached } = found;
  const detail = "from this host's copy of the key";
  return { ...useOfRecord("open", found.key.record, keystore.name), ...(cached && { detail }) };
}

/** @throws as `closeExport` */
export async function close(request: CloseRequest, resources: BridgeResources): Promise<BridgeResult> {
  await closeExport(request, resources);
  return {};
}
