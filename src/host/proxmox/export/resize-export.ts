import { statSync } from "node:fs";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { type ExportName, ExportPlace } from "./export-place.js";
import { mountOn } from "./fuse-mount.js";
import { Qmp } from "./qmp.js";
import type { ExportResources } from "./resources.js";
import { daemonsOf, NODE, within } from "./storage-daemon.js";

/**
 * Milliseconds. The kernel believes what it was told of a FUSE file's size for one second (QEMU's block/export/fuse.c),
 * and who reads it meanwhile gets the end cut off.
 */
const REMEMBERED = 3000;

/**
 * Enlarges a volume that is exported, which its daemon's lock keeps others from doing: a file, or an RBD image. A
 * device must have its new size before, and the export learns of it here. Everybody sees the new size when this returns.
 * @param guestSize bytes that the guest shall see
 * @returns whether it is exported: otherwise, nothing was done
 * @throws VOLUME_GROW_FAILED, VOLUME_WOULD_SHRINK, HOST_UNAVAILABLE, LOCK_TIMEOUT
 */
export async function resizeExport(
  name: ExportName,
  guestSize: bigint,
  resources: ExportResources,
): Promise<"enlarged" | "not exported"> {
  const place = new ExportPlace(resources.places, name);
  return await resources.locks.hold(place.lock, async () => {
    if (daemonsOf(place).length === 0 || mountOn(place.image) === undefined) return "not exported";
    using qmp = await Qmp.open(place.socket);
    const what = `cannot enlarge volume ${place.label}`;
    const now = await sizeOf(qmp);
    if (now === undefined || now > guestSize) {
      throw new LuksmithError("VOLUME_WOULD_SHRINK", {
        what,
        why: `its export shows ${now ?? "an unknown number of"} bytes, and ${guestSize} would cut off data`,
        hint: "say a size that is larger than that",
      });
    }
    if (now === guestSize) return "enlarged";
    const answer = await qmp.execute("block_resize", { "node-name": NODE, size: Number(guestSize) });
    if (answer.kind === "done") {
      await within(REMEMBERED, () => statSync(place.image).size >= guestSize);
      return "enlarged";
    }
    throw new LuksmithError("VOLUME_GROW_FAILED", {
      what,
      why: answer.desc,
      hint: "put this right and try again; the volume is as large as it was",
    });
  });
}

/** Bytes that the export shows. */
async function sizeOf(qmp: Qmp): Promise<bigint | undefined> {
  const answer = await qmp.execute("query-named-block-nodes");
  if (answer.kind === "refused") return undefined;
  const nodes = answer.value as {
    readonly "node-name": string;
    readonly image: { "virtual-size": number };
  }[];
  const node = nodes.find((candidate) => candidate["node-name"] === NODE);
  return node === undefined ? undefined : BigInt(node.image["virtual-size"]);
}
