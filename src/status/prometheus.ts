import type { StatusOutput } from "../generated/status.js";
import { type DiskStatus, isUnreadable, keyAge, VERDICTS } from "./verdict.js";

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number | undefined];

/** What `status --all` finds out, as a whole. */
export type WholeStatus = StatusOutput & Required<Pick<StatusOutput, "takenAt" | "keystores" | "summary">>;

/**
 * Prometheus's text format, for the textfile collector of its node exporter. Every metric is a gauge; one whose value is
 * not known is left out.
 */
export function toPrometheus({ guests, keystores, summary, takenAt }: WholeStatus): string {
  const now = new Date(takenAt);
  const disks = guests.flatMap((guest) => {
    const { id, name } = guest;
    return guest.disks.map((disk) => [{ guest_id: id, guest: name, disk: disk.device }, disk] as const);
  });
  const named = guests.map((guest) => [{ guest_id: guest.id, guest: guest.name }, guest] as const);
  return [
    metric("luksmith_status_timestamp_seconds", "When these were found out.", [[{}, seconds(takenAt)]]),
    metric(
      "luksmith_disks",
      "Disks by verdict.",
      VERDICTS.map((verdict) => [{ verdict }, summary.disks[verdict]]),
    ),
    metric("luksmith_guests_unreadable", "Guests whose disks could not be looked at.", [
      [{}, summary.unreadable],
    ]),
    metric(
      "luksmith_disk_verdict",
      "1, with the verdict on the disk as a label.",
      disks.map(([labels, { verdict }]) => [{ ...labels, verdict }, 1]),
    ),
    metric(
      "luksmith_disk_key_age_seconds",
      "How long the disk's passphrase has been in use.",
      disks.map(([labels, disk]) => [labels, keyAge(disk, now)]),
    ),
    metric(
      "luksmith_disk_last_drill_timestamp_seconds",
      "When a drill last tried the disk.",
      disks.map(([labels, { lastDrill }]) => [labels, lastDrill && seconds(lastDrill.at)]),
    ),
    metric(
      "luksmith_disk_last_drill_passed",
      "Whether that drill passed.",
      disks.map(([labels, { lastDrill }]) => [labels, lastDrill && Number(lastDrill.result === "passed")]),
    ),
    metric(
      "luksmith_disk_header_copy_timestamp_seconds",
      "When the newest copy of the disk's LUKS header was taken.",
      disks.map(([labels, { headerCopyAt }]) => [
        labels,
        headerCopyAt === undefined ? undefined : seconds(headerCopyAt),
      ]),
    ),
    metric(
      "luksmith_disk_copies",
      "Where there are some: other disks and volumes that the disk's volume key opens, being copies of one another.",
      disks.map(([labels, disk]) => [labels, copiesOf(disk)]),
    ),
    metric(
      "luksmith_guest_would_start",
      "Whether the guest's next start would not be refused.",
      named.map(([labels, { problem }]) => [labels, Number(problem === undefined)]),
    ),
    metric(
      "luksmith_guest_readable",
      "Whether the guest's disks could be looked at.",
      named.map(([labels, guest]) => [labels, Number(!isUnreadable(guest))]),
    ),
    metric(
      "luksmith_guest_plaintext_places",
      "Places besides its disks where data of the guest are in plaintext.",
      named.map(([labels, { dataPlaces }]) => [
        labels,
        dataPlaces.filter(({ kind, protection }) => protection === "plaintext" && kind !== "disk").length,
      ]),
    ),
    metric(
      "luksmith_keystore_up",
      "Whether the keystore answers.",
      keystores.map(({ name, type, answers }) => [{ keystore: name, type }, Number(answers)]),
    ),
  ].join("");
}

function copiesOf({ copyOf, sameVolumeKey = [] }: DiskStatus): number | undefined {
  return sameVolumeKey.length || (copyOf === undefined ? undefined : 1);
}

function metric(name: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.flatMap(([labels, value]) =>
    value === undefined ? [] : [`${name}${rendered(labels)} ${value}\n`],
  );
  return lines.length === 0 ? "" : [`# HELP ${name} ${help}\n# TYPE ${name} gauge\n`, ...lines].join("");
}

function rendered(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** What a label's value may not have as it is. */
function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}
