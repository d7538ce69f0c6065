import { basename, dirname, join } from "node:path";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { lvNameOf } from "../storage/lvm/lvm-name.js";
import type { PathVolume } from "../storage/volume.js";

/**
 * Beside the old volume, under a name that says what it is: `web1.qcow2` becomes `web1.luks.qcow2`, and `/dev/vg/web1`
 * becomes `/dev/vg/web1-luks`; what is called so already gets a number. @throws USAGE where nothing follows from the name
 */
export function defaultTarget(
  { dev, volume }: Pick<DiskMapping, "dev" | "volume">,
  to: "encrypted" | "plain",
): PathVolume {
  const word = to === "encrypted" ? "luks" : "plain";
  if (volume.kind === "block") {
    const lv = lvNameOf(volume.path);
    if (lv !== undefined) {
      const path = `/dev/${lv.group}/${renamed(lv.volume, "-", word)}`;
      return { kind: "block", path, format: "raw" };
    }
  }
  if (volume.kind === "file" && (volume.format === "raw" || volume.format === "qcow2")) {
    const stem = basename(volume.path).replace(/\.(raw|img|qcow2)$/, "");
    const name = `${renamed(stem, ".", word)}.${volume.format}`;
    return { kind: "file", path: join(dirname(volume.path), name), format: volume.format };
  }
  throw new LuksmithError("USAGE", {
    what: `cannot tell where disk ${dev} is to be copied`,
    why: "it is neither an image file nor a logical volume",
    hint: "say --to VOLUME",
  });
}

/** `vm1` → `vm1-luks` → `vm1-luks2`; of another word before it, nothing is left: `vm1-plain` → `vm1-luks`. */
function renamed(name: string, separator: string, word: string): string {
  const at = name.lastIndexOf(separator);
  const [stem, last] = at > 0 ? [name.slice(0, at), name.slice(at + 1)] : [name, ""];
  const [, found, number = "1"] = /^(luks|plain)([1-9][0-9]{0,8})?$/.exec(last) ?? [];
  if (found === undefined) return `${name}${separator}${word}`;
  return `${stem}${separator}${word}${found === word ? Number(number) + 1 : ""}`;
}
