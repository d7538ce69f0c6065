import { printable } from "../error/printable.js";
import type { MigrationAnswer } from "../generated/migration-answer.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { guestWord } from "../plan/commands.js";
import { volumeName } from "../storage/volume.js";
import { type CheckedDisk, checkedDisks, readOnlyPlainDisks } from "./checked-disks.js";
import { type CheckFinding, ok, refused, warning } from "./check-finding.js";
import { storageFindings } from "./check-storage.js";
import { wireFindings } from "./check-wires.js";
import { type MigrationRoute, type Wire, wiresOf } from "./transport.js";
import { migrateCommand } from "./virsh-migrate.js";

/** A migration that somebody means to begin. */
export interface Intent {
  /** With the disks that it has now. */
  readonly guest: Pick<ConfiguredGuest, "id" | "name" | "disks" | "running" | "saved">;
  readonly route: MigrationRoute;
  /** Connection URI of this host's libvirt. */
  readonly here: string;
  /** Of the Luksmith here. */
  readonly version: string;
}

export interface CheckReport {
  readonly disks: readonly CheckedDisk[];
  readonly findings: readonly CheckFinding[];
  /** None of a guest that is shut off: nothing but its definition is sent. */
  readonly wires: readonly Wire[];
  /** What migrates the guest; absent where that would be refused. */
  readonly command?: string;
}

/** @param answer of the target's Luksmith; undefined where none answers */
export function checkReport(intent: Intent, answer: MigrationAnswer | undefined): CheckReport {
  const { guest, route } = intent;
  const disks = checkedDisks(guest, answer);
  const wires = guest.running ? wiresOf(route) : [];
  const findings = [
    ...luksmithFindings(intent, answer, disks),
    ...disks.filter(({ content }) => content === "foreign").map(foreignBlock),
    ...storageFindings(intent, disks),
    ...readOnlyMedia(guest),
    ...(guest.saved ? [savedMemory(guest)] : []),
    ...wireFindings(wires, route),
    ...(guest.running ? [] : [definitionOnly(disks)]),
  ];
  const command = migrateCommand(intent, disks);
  const isRefused = findings.some(({ level }) => level === "refused");
  return { disks, findings, wires, ...(!isRefused && { command }) };
}

function luksmithFindings(
  { guest, route, version }: Intent,
  answer: MigrationAnswer | undefined,
  disks: readonly CheckedDisk[],
): CheckFinding[] {
  const none = `no disk of guest ${guest.name} is encrypted`;
  const isPlain = disks.every(({ content }) => content === "plain");
  if (answer === undefined) {
    const what = `no Luksmith answers at ${printable(route.target.uri)}`;
    if (isPlain) return [ok("luksmith", { what: `${what}, and none is needed: ${none}` })];
    return [
      refused("luksmith", "HOOK_NOT_INSTALLED", {
        what,
        why: "it is not installed there, its hook is not, or it is older than this command",
        hint: "on that host: luksmith version; then: luksmith install --host libvirt",
      }),
    ];
  }
  const findings = [versionFinding(version, answer.version)];
  if (answer.problem !== undefined) findings.push({ level: "refused", about: "target", ...answer.problem });
  else if (isPlain) findings.push(ok("storage", { what: none }));
  return findings;
}

function versionFinding(here: string, there: string): CheckFinding {
  if (here === there)
    return ok("luksmith", { what: `Luksmith ${there} answers there, the version of this host` });
  return warning("luksmith", {
    what: `Luksmith ${printable(there)} answers there, and this host has ${here}`,
    why: "the older one may not know what the newer one makes",
    hint: "install the newer one on both hosts",
  });
}

function foreignBlock({ device, key }: CheckedDisk): CheckFinding {
  return warning("storage", {
    what: `the Luksmith there leaves the encryption block of disk ${device} alone`,
    why: "nobody asks it to encrypt this disk, and no keystore of it has the key",
    hint: `whoever manages it must have given libvirt there its secret${key === undefined ? "" : ` ${key}`}`,
  });
}

/** libvirt looks for them itself, and only when the guest migrates. */
function readOnlyMedia(guest: Intent["guest"]): CheckFinding[] {
  const media = readOnlyPlainDisks(guest).map(({ dev, volume }) => `${dev} ${printable(volumeName(volume))}`);
  return media.length === 0 ? [] : [ok("storage", { what: `must be there too: ${media.join(", ")}` })];
}

function savedMemory(guest: Intent["guest"]): CheckFinding {
  return refused("guest", "GUEST_RUNNING", {
    what: `guest ${guest.name} was saved while it was running: its memory would stay here`,
    why: "there it would start as after a power cut; and if it were resumed here later, its disks would have changed",
    hint: `start it first: virsh start ${guestWord(guest)}`,
  });
}

function definitionOnly(disks: readonly CheckedDisk[]): CheckFinding {
  const what = "nothing but the guest's definition is sent: it is shut off";
  if (disks.every(({ content }) => content === "plain")) return ok("memory", { what });
  // libvirt says nothing when such a migration has ended
  const hint =
    "libvirt there gets its passphrases all the same; to take them away again, on that host: luksmith reap";
  return ok("memory", { what, hint });
}
