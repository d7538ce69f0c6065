import { statSync } from "node:fs";
import { ifThere } from "../fs/if-there.js";
import type { Volume } from "../storage/volume.js";
import { parseRbdName } from "../storage/volume-name.js";

/** The volumes that a key record can mean: of a file it does not say the image format. */
export function volumesNamed(name: string): readonly Volume[] {
  const image = parseRbdName(name);
  if (image !== undefined) return [image];
  if (!name.startsWith("/")) return [];
  const isDevice = name.startsWith("/dev/") || ifThere(() => statSync(name))?.isBlockDevice() === true;
  if (isDevice) return [{ kind: "block", path: name, format: "raw" }];
  return (["raw", "qcow2"] as const).map((format) => ({ kind: "file", path: name, format }));
}
