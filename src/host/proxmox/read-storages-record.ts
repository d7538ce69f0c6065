import { readFileSync } from "node:fs";
import { errnoOf } from "../../error/luksmith-error.js";
import type { ProxmoxStorages } from "../../generated/proxmox-storages.js";
import validate from "../../generated/validate-proxmox-storages.cjs";
import type { ProxmoxPlaces } from "./places.js";
import type { StoragesRecord } from "./storages-policy.js";

/** Never throws: what cannot be read refuses guests, and a guest that runs can still be stopped. */
export function readStoragesRecord({
  storagesRecord: path,
}: Pick<ProxmoxPlaces, "storagesRecord">): StoragesRecord {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (isRecord(value)) return { kind: "known", storages: value.storages };
    const [problem] = validate.errors ?? [];
    return { kind: "damaged", path, why: `${problem?.instancePath ?? ""} ${problem?.message ?? ""}`.trim() };
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return { kind: "absent" };
    return { kind: "damaged", path, why: errnoOf(thrown) ?? "it is no JSON" };
  }
}

function isRecord(value: unknown): value is ProxmoxStorages {
  return validate(value);
}
