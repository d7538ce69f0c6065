import type { DiskMapping } from "../disk-info/disk-info.js";
import { shellWord } from "../error/shell-word.js";
import type { DataPlace } from "../host/data-place.js";
import { volumeName } from "../storage/volume.js";
import type { LabelOf, PlaceOwner } from "./data-places.js";

/** What a CD-ROM or floppy drive holds, or a disk that is a configuration drive; undefined for any other disk. */
export function placeOfMedium(disk: DiskMapping, owner: PlaceOwner, labelOf: LabelOf): DataPlace | undefined {
  const { dev, volume } = disk;
  const where = volumeName(volume);
  const label = volume.kind === "file" || volume.kind === "block" ? labelOf(volume.path) : undefined;
  const shown = shownBy(label, where);
  if (shown !== undefined) {
    return {
      kind: "medium",
      where,
      protection: "plaintext",
      detail: `configuration drive ${dev} (${shown}): it can hold passwords, keys and tokens`,
      hint: removal(disk, owner),
    };
  }
  if (!isDrive(disk)) return undefined;
  const detail = `medium ${dev}: an installation medium, unless somebody put answers or passwords into it`;
  return { kind: "medium", where, protection: "possible", detail };
}

/** cloud-init looks for these labels. */
const LABEL = /^(?:cidata|config-2)$/i;

/** Parts of names that Nova, virt-install, cloud-localds and people give to configuration drives. */
const NAME =
  /(?:^|[^a-z])(?:cidata|config-?2|config-?drive|disk\.config|cloud-?(?:init|config)|user-?data|seed|ignition|autounattend)(?:[^a-z]|$)/i;

function shownBy(label: string | undefined, path: string): string | undefined {
  if (label !== undefined && LABEL.test(label)) return `label ${label}`;
  return NAME.test(path.slice(path.lastIndexOf("/") + 1)) ? "its name says so" : undefined;
}

/** virsh looks a device up in the definition that the command changes, and ejects nothing from an empty drive. */
function removal(disk: DiskMapping, { name, running, definition }: PlaceOwner): string {
  const guest = shellWord(name);
  const once = "once the guest has read it";
  if (isDrive(disk)) {
    const flags = definition === "live" ? "--live" : running ? "--live --config" : "--config";
    return `${once}, eject it and delete the image: virsh change-media ${guest} ${disk.dev} --eject ${flags}`;
  }
  const off = running && definition === "persistent" ? "shut the guest off, " : "";
  const flag = definition === "live" ? "--live" : "--config";
  return `${once}, ${off}detach it and delete the image: virsh detach-disk ${guest} ${disk.dev} ${flag}`;
}

function isDrive({ type }: DiskMapping): boolean {
  return type === "cdrom" || type === "floppy";
}
