import { guestWord } from "../plan/commands.js";
import type { CheckedDisk } from "./checked-disks.js";
import { type CheckFinding, ok, refused, warning } from "./check-finding.js";
import type { Intent } from "./check-report.js";

/** Whether the disks that must be copied are, and no other; nothing where the target could not say which. */
export function storageFindings(intent: Intent, disks: readonly CheckedDisk[]): CheckFinding[] {
  const { guest, route } = intent;
  if (!guest.running && route.copyStorage) return [notWhileShutOff(intent)];
  if (disks.some(({ content }) => content === "unknown")) return [];
  const copied = disks.filter(({ content }) => content === "copied");
  if (!route.copyStorage) return copied.length > 0 ? [notCopied(intent, copied)] : [];
  const { same, others } = writable(disks);
  const readOnly = copied.filter((disk) => disk.readOnly);
  if (readOnly.length > 0) return [neverCopied(readOnly)];
  if (copied.length > 0) return copies(copied, same, others);
  if (same.length === 0) return [];
  if (others.length === 0) return [ontoItself(same)];
  return [perhapsCopied(others, `only ${devices(others)} would be copied`)];
}

/** Disks that `--migrate-disks` names, since libvirt would copy others as well without it; undefined if all are. */
export function disksToCopy(disks: readonly CheckedDisk[]): string[] | undefined {
  const { same, others } = writable(disks);
  if (same.length === 0) return undefined;
  const copied = disks.filter(({ content }) => content === "copied");
  return (copied.length > 0 ? copied : others).map(({ device }) => device);
}

/** libvirt copies what the guest can write; `others` are those that no Luksmith knows. */
function writable(disks: readonly CheckedDisk[]): Record<"same" | "others", CheckedDisk[]> {
  const all = disks.filter(({ readOnly }) => !readOnly);
  return {
    same: all.filter(({ content }) => content === "same"),
    others: all.filter(({ content }) => content === "plain" || content === "foreign"),
  };
}

function notWhileShutOff({ guest }: Intent): CheckFinding {
  return refused("storage", "STORAGE_NOT_COPIED", {
    what: `libvirt copies no storage of guest ${guest.name}, which is shut off`,
    why: "the QEMU of a guest that runs would do it",
    hint: `start it first: virsh start ${guestWord(guest)}; or leave --copy-storage away, if the hosts share its storage`,
  });
}

function notCopied({ guest, route }: Intent, copied: readonly CheckedDisk[]): CheckFinding {
  const tunnel = route.tunnelled ? ", and --tls in the place of --tunnelled, which copies no storage" : "";
  const start = `start it first, since libvirt copies no storage of a guest that is shut off: virsh start ${guestWord(guest)}`;
  return refused("storage", "STORAGE_NOT_COPIED", {
    what: `the content of ${devices(copied)} is not there, and would not be copied`,
    why: `${copied.map(({ volume }) => volume).join(", ")} there is empty, or left by an earlier migration`,
    hint: guest.running ? `use --copy-storage${tunnel}` : start,
  });
}

function neverCopied(disks: readonly CheckedDisk[]): CheckFinding {
  return refused("storage", "STORAGE_NOT_COPIED", {
    what: `the content of ${devices(disks)} is not there, and libvirt copies no disk that is read-only`,
    hint: "put its volume there by other means, LUKS header and all",
  });
}

function ontoItself(same: readonly CheckedDisk[]): CheckFinding {
  return refused("storage", "COPY_SHARES_KEY", {
    what: `--copy-storage would copy ${devices(same)} onto itself`,
    why: "the volume there has the same LUKS header: the hosts share it, or it is a copy with the same key",
    hint: "if the hosts share it, leave --copy-storage away; only if it surely is a copy, put an empty volume of the same size in its place there",
  });
}

function copies(
  copied: readonly CheckedDisk[],
  same: readonly CheckedDisk[],
  others: readonly CheckedDisk[],
): CheckFinding[] {
  const findings = [
    ok("storage", {
      what: `the content of ${devices(copied)} is copied, and encrypted there with a key of its own`,
    }),
  ];
  if (same.length === 0) {
    if (others.length > 0)
      findings.push(ok("storage", { what: `${devices(others)} is copied as well, as it is` }));
    return findings;
  }
  findings.push(ok("storage", { what: `${devices(same)} is the same volume there, and is not copied` }));
  if (others.length > 0) findings.push(perhapsCopied(others, `${devices(others)} would not be copied`));
  return findings;
}

function perhapsCopied(others: readonly CheckedDisk[], what: string): CheckFinding {
  return warning("storage", {
    what,
    why: "Luksmith does not encrypt it, and does not know whether the hosts share its volume",
    hint: "see --migrate-disks in the command below",
  });
}

/** `disk vda`, `disks vda and vdb` */
function devices(disks: readonly CheckedDisk[]): string {
  const names = disks.map(({ device }) => device);
  const last = names.pop() ?? "";
  return names.length === 0 ? `disk ${last}` : `disks ${names.join(", ")} and ${last}`;
}
