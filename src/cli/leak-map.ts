import type { DiskInfo } from "../disk-info/disk-info.js";
import { hasEncryptedDisk } from "../disk-info/has-encrypted-disk.js";
import { visible } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { StatusOutput } from "../generated/status.js";
import { print, printTable } from "./output.js";

type GuestStatus = StatusOutput["guests"][number];
type Place = GuestStatus["dataPlaces"][number];

const NAMES = {
  disk: "plain disk",
  medium: "medium",
  nvram: "UEFI variables",
  "tpm-state": "TPM state",
  "saved-memory": "saved memory",
  "snapshot-memory": "snapshot's memory",
  "memory-file": "memory file",
  "core-dump": "core dump",
  "console-log": "console log",
  "shared-directory": "shared directory",
  "boot-files": "boot file",
  backup: "backup",
  "host-device": "host device",
  "qemu-arguments": "QEMU arguments",
  "host-secrets": "passphrases on the host",
  "host-swap": "swap of the host",
  migration: "network at migration",
  unknown: "not told",
} as const satisfies Record<Place["kind"], string>;

const ORDER = ["plaintext", "possible", "encrypted"] as const satisfies Place["protection"][];

/** The places of one guest, the worst first, and what can be done about each. */
export function showLeakMap({ name, dataPlaces }: GuestStatus): void {
  const places = ORDER.flatMap((protection) =>
    dataPlaces.filter((place) => place.protection === protection && !canBeSaved(place)),
  );
  if (places.length === 0) return;
  print(`\ndata of ${name} besides its encrypted disks:`);
  printTable(
    ["place", "protection", "where"],
    places.map(({ kind, protection, where = "" }) => [NAMES[kind], protection, visible(where)]),
  );
  const byHint = new Map<string | undefined, Set<string>>();
  for (const { kind, detail, hint } of places) {
    const said = byHint.get(hint) ?? new Set();
    byHint.set(hint, said.add(`${NAMES[kind]}: ${detail}`));
  }
  for (const [hint, said] of byHint) {
    print(`\n${[...said].join("\n")}`);
    if (hint !== undefined) print(`hint: ${hint}`);
  }
}

/** True of every guest, and a matter of its host (`luksmith doctor`): machines are told. */
function canBeSaved({ kind, protection }: Place): boolean {
  return kind === "saved-memory" && protection === "possible";
}

/** A guest and what was found out about it; without disks where it could not be read. */
export interface SeenGuest {
  readonly status: GuestStatus;
  readonly disks?: DiskInfo;
}

/** A line for each guest with encrypted disks that has plaintext elsewhere; its plain disks are in the table. */
export function showLeaks(guests: readonly SeenGuest[]): void {
  for (const { status, disks } of guests) {
    // nothing is promised for a guest whose disks are all plain and may be
    const isAskedFor = status.disks.some(({ askedBy }) => askedBy.length > 0);
    if (disks === undefined || !(isAskedFor || hasEncryptedDisk(disks))) continue;
    const { name, dataPlaces } = status;
    const leaks = dataPlaces.filter(({ kind, protection }) => protection === "plaintext" && kind !== "disk");
    if (leaks.length === 0) continue;
    const kinds = [...new Set(leaks.map(({ kind }) => NAMES[kind]))].join(", ");
    print(`\n${name} has data in plaintext besides its disks: ${kinds} (luksmith status ${shellWord(name)})`);
  }
}
