import { visible } from "../error/printable.js";
import type { StatusOutput } from "../generated/status.js";
import { type DiskStatus, type GuestStatus, isUnreadable, keyAge } from "./verdict.js";

const SECONDS_OF_DAY = 86_400;

type Cell = string | number | boolean | undefined;
type Column = readonly [heading: string, cell: (guest: GuestStatus, disk: DiskStatus | undefined) => Cell];

const COLUMNS = (now: Date): readonly Column[] => [
  ["guest_id", ({ id }) => id],
  ["guest", ({ name }) => name],
  ["running", ({ running }) => running],
  ["disk", (_, disk) => disk?.device],
  ["volume", (_, disk) => disk?.volume],
  ["asked_by", (_, disk) => disk?.askedBy.join("; ")],
  ["verdict", (guest, disk) => disk?.verdict ?? (isUnreadable(guest) ? "unproven" : undefined)],
  ["format", (_, disk) => disk?.format],
  ["cipher", (_, disk) => disk?.cipher],
  ["key_size", (_, disk) => disk?.keySize],
  ["opened_by", (_, disk) => disk?.openedBy],
  ["key", (_, disk) => disk?.key],
  ["keystore", (_, disk) => disk?.keystore],
  ["key_from_cache", (_, disk) => disk?.key && disk.cachedAt !== undefined],
  ["key_created_at", (_, disk) => disk?.keyCreatedAt],
  ["key_rotated_at", (_, disk) => disk?.keyRotatedAt],
  ["key_age_days", (_, disk) => disk && daysOf(keyAge(disk, now))],
  ["keyslots", (_, disk) => disk?.keyslots],
  ["recovery", (_, disk) => disk?.recovery?.join("; ")],
  ["header_copy_at", (_, disk) => disk?.headerCopyAt],
  ["last_drill_at", (_, disk) => disk?.lastDrill?.at],
  ["last_drill", (_, disk) => disk?.lastDrill?.result],
  ["copy_of", (_, disk) => disk?.copyOf],
  ["same_volume_key", (_, disk) => disk?.sameVolumeKey?.join("; ")],
  ["plaintext_places", ({ dataPlaces }) => placesIn(dataPlaces)],
  ["problem", ({ problem }, disk) => disk?.problem?.code ?? problem?.code],
];

/**
 * A line for each disk, and one for a guest without disks: RFC 4180, with a heading. Text that a spreadsheet would take
 * for a formula has an apostrophe before it, control characters are made visible.
 */
export function toCsv({ guests }: StatusOutput, now: Date): string {
  const columns = COLUMNS(now);
  const rows = guests.flatMap((guest) => {
    const disks = guest.disks.length === 0 ? [undefined] : guest.disks;
    return disks.map((disk) => columns.map(([, cell]) => cell(guest, disk)));
  });
  return [columns.map(([heading]) => heading), ...rows]
    .map((row) => `${row.map(quoted).join(",")}\r\n`)
    .join("");
}

function quoted(cell: Cell): string {
  if (typeof cell !== "string") return cell === undefined ? "" : String(cell);
  const text = visible(/^[=+@\t\r-]/.test(cell) ? `'${cell}` : cell);
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function daysOf(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.floor(seconds / SECONDS_OF_DAY);
}

function placesIn(places: GuestStatus["dataPlaces"]): number {
  return places.filter(({ kind, protection }) => protection === "plaintext" && kind !== "disk").length;
}
