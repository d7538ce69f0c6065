import type { BridgeRequest } from "../../../generated/bridge-request.js";
import type { BridgeResources, BridgeResult } from "./resources.js";

/** Does what the storage plugin asks; each operation is loaded when it is asked for. */
export async function perform(request: BridgeRequest, resources: BridgeResources): Promise<BridgeResult> {
  switch (request.op) {
    case "create":
      return (await import("./create.js")).create(request, resources);
    case "size":
      return (await import("./size.js")).sizeOf(request, resources);
    case "provide":
      return (await import("./provide.js")).provide(request, resources);
    case "resize":
      return (await import("./resize.js")).resize(request, resources);
    case "free":
      return (await import("./free.js")).free(request, resources);
    case "open":
      return (await import("./open-close.js")).open(request, resources);
    case "close":
      return (await import("./open-close.js")).close(request, resources);
    case "rename":
    case "template":
      return (await import("./rename.js")).rename(request, resources);
    case "allow":
      return (await import("./allow.js")).allow(request, resources);
    case "record-storage":
    case "forget-storage":
      return (await import("./record-storage.js")).changeRecord(request, resources);
    case "snapshot":
    case "rollback":
    case "delete-snapshot":
      return (await import("./snapshot.js")).snapshot(request, resources);
    case "clone":
      return (await import("./clone.js")).clone(request, resources);
  }
}
