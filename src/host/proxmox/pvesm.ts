import { shellWord } from "../../error/shell-word.js";
import type { ProxmoxBase, ProxmoxStorage } from "../../generated/proxmox-storage.js";
import type { ConfiguredStorage } from "./storage-config.js";
import { STORAGE_TYPE } from "./storage-config.js";

/** The command that makes the section of a storage, to be pasted into a shell. */
export function addCommand({ id, base, profile }: ProxmoxStorage): string {
  const named = profile === undefined ? [] : [["--encryption-profile", profile]];
  const options = [...baseOptions(base), ...named].map(
    ([name = "", value = ""]) => `${name} ${shellWord(value)}`,
  );
  return ["pvesm add", STORAGE_TYPE, shellWord(id), ...options].join(" ");
}

/** The same where a section is in the way: its base cannot be changed. Neither command touches a volume. */
export function restoreCommand(storage: ProxmoxStorage): string {
  return `pvesm remove ${shellWord(storage.id)} && ${addCommand(storage)}`;
}

/** The command that changes nothing, and has the plugin record the section as it is. */
export function noteCommand({ id, content }: ConfiguredStorage): string {
  return `pvesm set ${shellWord(id)} --content ${shellWord(content.join(",") || "images")}`;
}

function baseOptions(base: ProxmoxBase): string[][] {
  switch (base.type) {
    case "directory":
      return [["--base-path", base.path]];
    case "lvm":
      return [["--base-vg", base.vg]];
    case "lvm-thin":
      return [
        ["--base-vg", base.vg],
        ["--base-thinpool", base.thinpool],
      ];
    case "rbd":
      return [
        ["--base-pool", base.pool],
        ...(["namespace", "conf", "user"] as const).flatMap((name) => {
          const value = base[name];
          return value === undefined ? [] : [[`--base-${name}`, value]];
        }),
      ];
    case "zfs":
      return [["--base-zfs", base.dataset]];
  }
}
