import { shellWord } from "../error/shell-word.js";
import { guestWord } from "../plan/commands.js";
import type { CheckedDisk } from "./checked-disks.js";
import type { Intent } from "./check-report.js";
import { disksToCopy } from "./check-storage.js";

/** What virsh connects to by itself, as root. */
const DEFAULT_URI = "qemu:///system";

/** The command that migrates the guest, to be pasted into a shell. */
export function migrateCommand({ guest, route, here }: Intent, disks: readonly CheckedDisk[]): string {
  const { target, tls, tunnelled, copyStorage, migrateUri, disksUri } = route;
  const only = copyStorage ? disksToCopy(disks) : undefined;
  return [
    "virsh",
    ...(here === DEFAULT_URI ? [] : ["-c", shellWord(here)]),
    "migrate",
    ...(guest.running ? ["--live"] : ["--offline"]),
    "--persistent --undefinesource",
    ...(copyStorage ? ["--copy-storage-all"] : []),
    ...(only === undefined ? [] : ["--migrate-disks", shellWord(only.join(","))]),
    // a libvirt that is told to insist on it does so when nothing is sent, too
    ...(tls ? ["--tls"] : []),
    ...(guest.running && tunnelled ? ["--p2p --tunnelled"] : []),
    ...(guest.running && migrateUri !== undefined ? ["--migrateuri", shellWord(migrateUri)] : []),
    ...(guest.running && disksUri !== undefined ? ["--disks-uri", shellWord(disksUri)] : []),
    guestWord(guest),
    shellWord(target.uri),
  ].join(" ");
}
