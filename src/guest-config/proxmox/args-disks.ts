/** Options of QEMU that give a guest a disk, or have what it writes go elsewhere. */
const DISK_OPTIONS: ReadonlySet<string> = new Set([
  ...["drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "pflash", "mtdblock", "sd"],
  // a file of options; temporary files in plaintext
  ...["readconfig", "snapshot"],
]);

/** Devices whose disk another process of the host serves. */
const SERVED = /^(vhost-user-(blk|scsi)|vhost-scsi|scsi-generic)/;

/**
 * The first option in `args` of a guest that can give it a disk which is none of its configuration: `-drive`. Undefined
 * if there is none. What `-device` names counts if it says which drive it is for.
 */
export function diskInArgs(args: string): string | undefined {
  const words = shellWords(args);
  return words.flatMap((word, index) => {
    const [, option] = /^--?([a-z-]+)$/.exec(word) ?? [];
    if (option === undefined) return [];
    if (DISK_OPTIONS.has(option)) return [`-${option}`];
    return option === "device" && isDisk(words[index + 1] ?? "") ? ["-device"] : [];
  })[0];
}

function isDisk(device: string): boolean {
  return /(^|,)\s*drive=/.test(device) || /"drive"\s*:/.test(device) || SERVED.test(device);
}

/** As a shell takes words apart, and Proxmox VE does: quotes are not part of them. */
function shellWords(text: string): string[] {
  const words = text.matchAll(/(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+/gs);
  return [...words].map(([word]) =>
    word.replace(
      /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/gs,
      (_, double?: string, single?: string, one?: string) =>
        double === undefined ? (single ?? one ?? "") : double.replace(/\\(.)/gs, "$1"),
    ),
  );
}
