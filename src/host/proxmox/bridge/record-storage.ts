import { isDeepStrictEqual } from "node:util";
import type { ForgetStorageRequest, RecordStorageRequest } from "../../../generated/bridge-request.js";
import { markBase } from "../base/base-mark.js";
import { ProxmoxGuests } from "../guests.js";
import { readStoragesRecord } from "../read-storages-record.js";
import { refuseBase } from "../same-base.js";
import { forgetStorage, recordStorage } from "../storages-record.js";
import { profileOf } from "./profile-of.js";
import type { BridgeResources, BridgeResult } from "./resources.js";

/** @throws as `recordStorage`, and, unless it is recorded so: STORAGE_BASE_REFUSED, PROFILE_UNKNOWN, VOLUME_UNSUPPORTED */
export async function changeRecord(
  request: RecordStorageRequest | ForgetStorageRequest,
  resources: BridgeResources,
): Promise<BridgeResult> {
  const { places, runner } = resources;
  switch (request.op) {
    case "record-storage":
      await record(request, resources);
      return {};
    case "forget-storage":
      await forgetStorage(request.storage.id, places, runner);
      return {};
  }
}

async function record({ storage }: RecordStorageRequest, resources: BridgeResources): Promise<void> {
  const { places, runner, settings } = resources;
  const known = readStoragesRecord(places);
  const isRecorded = known.kind === "known" && known.storages.some((one) => isDeepStrictEqual(one, storage));
  if (!isRecorded) {
    profileOf(storage, settings);
    refuseBase(storage, new ProxmoxGuests(places).storages(), known);
    await recordStorage(storage, places, runner);
  }
  // a directory that is not there yet gets it with its first volume
  if (storage.base.type === "directory") markBase(storage.base.path);
}
