import { asLuksmithError } from "../error/luksmith-error.js";
import { guestWord } from "../plan/commands.js";
import { digestOf } from "../headers/backup-file.js";
import { headerIn, requireOwn } from "../headers/header-in.js";
import type { KeyslotPorts } from "../headers/keyslot-ports.js";
import type { Secret } from "../secret/secret.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { volumeName } from "../storage/volume.js";
import { shellWord } from "../error/shell-word.js";
import { commandFor, type DrillCheck, failed, failedBy, ok, warning } from "./drill-check.js";
import { emergencyChecks } from "./drill-emergency.js";
import type { EscrowPorts } from "./drill-escrow.js";
import { recordDrill } from "./drill-record.js";
import { keyslotsCheck, policyChecks, recoveryChecks } from "./drill-recovery.js";
import { liveKey } from "./live-key.js";
import type { RecoverableDisk } from "./recoverable-disk.js";

export interface DiskDrill {
  readonly disk: RecoverableDisk;
  /** `skipped`: there is nothing yet that could be tried. */
  readonly result: "passed" | "failed" | "skipped";
  readonly checks: readonly DrillCheck[];
}

export interface DrillPorts extends KeyslotPorts, EscrowPorts {
  readonly settings: Pick<EffectiveSettings, "profiles">;
  /** Where results are remembered; the host's own place without it. */
  readonly directory?: string;
}

/** Tries all that would have to open the disk in an emergency, and remembers how it ended. Writes nothing to the volume. */
export async function drillDisk(disk: RecoverableDisk, ports: DrillPorts): Promise<DiskDrill> {
  const { audit, clock } = ports;
  const { guest, uuid: key, volume } = disk;
  const checks = await checksOf(disk, ports);
  if (checks === "pending") return { disk, result: "skipped", checks: [notFormatted(disk)] };
  const [bad, doubtful] = [namesOf(checks, "failed"), namesOf(checks, "warning")];
  const result = bad.length === 0 ? "passed" : "failed";
  recordDrill(key, { at: clock.now(), result }, ports.directory);
  await audit.record({
    ...{ event: "drill", guest, disk: disk.disk, volume: volumeName(volume), key },
    ...(bad.length > 0
      ? { result: "failed", code: "DRILL_FAILED", detail: bad.join(", ") }
      : { result: "done", ...(doubtful.length > 0 && { detail: `warnings: ${doubtful.join(", ")}` }) }),
  });
  return { disk, result, checks };
}

function namesOf(checks: readonly DrillCheck[], result: DrillCheck["result"]): string[] {
  return [...new Set(checks.filter((check) => check.result === result).map(({ name }) => name))];
}

function notFormatted({ guest }: RecoverableDisk): DrillCheck {
  return warning(
    "volume",
    "its key has encrypted nothing yet, so there is nothing to be tried",
    `the guest's next start formats it, or: luksmith protect ${guestWord(guest)} --now`,
  );
}

async function checksOf(disk: RecoverableDisk, ports: DrillPorts): Promise<DrillCheck[] | "pending"> {
  const live = await liveKey(ports.keyring, disk.uuid).catch(asLuksmithError);
  if (live instanceof Error) {
    const header = await headerOf(disk, ports).catch(asLuksmithError);
    const isRead = Buffer.isBuffer(header);
    return [
      failedBy("keystore", live),
      ...(isRead ? [] : [failedBy("volume", header)]),
      ...(await emergencyChecks(disk, isRead ? header : undefined, ports)),
    ];
  }
  using passphrase = live.key.passphrase;
  const { record } = live.key;
  if (record.state === "pending") return "pending";
  const reached = ok("keystore", `keystore ${live.keystore} gave the key out`);
  const header = await headerOf(disk, ports).catch(asLuksmithError);
  if (header instanceof Error) return [reached, failedBy("volume", header)];
  const keyslot = await ports.keyslots.find(header, passphrase);
  const drilled = { disk, header, record };
  return [
    reached,
    keyslot === undefined ? rejected(disk) : ok("passphrase", `it opens keyslot ${keyslot}`),
    await copyCheck(disk, header, passphrase, ports),
    ...(await recoveryChecks(drilled, ports)),
    ...policyChecks(drilled, ports.settings),
    keyslotsCheck(drilled, keyslot, ports.keyslots),
  ];
}

async function headerOf(disk: RecoverableDisk, { storage }: DrillPorts): Promise<Buffer> {
  const backend = await storage.backendFor(disk.volume);
  const header = await backend.readHeader(disk.volume);
  headerIn(header, volumeName(disk.volume));
  return requireOwn(disk, header);
}

function rejected({ guest, disk }: RecoverableDisk): DrillCheck {
  const hint = `if the volume is an old copy: luksmith rotate ${guestWord(guest)} --disk ${shellWord(disk)}; else see luksmith header verify`;
  return failed("passphrase", "the keystore's passphrase opens no keyslot", hint);
}

async function copyCheck(
  disk: RecoverableDisk,
  header: Buffer,
  passphrase: Secret,
  { vault, keyslots }: DrillPorts,
): Promise<DrillCheck> {
  const hint = commandFor(disk, "header backup");
  try {
    const [newest] = vault.backups(disk.uuid);
    if (newest === undefined) return failed("header copy", "there is none", hint);
    const at = newest.takenAt.toISOString();
    if (newest.digest !== digestOf(header))
      return failed("header copy", `the newest one, of ${at}, differs from the volume's header`, hint);
    if ((await keyslots.find(vault.read(newest), passphrase)) !== undefined)
      return ok("header copy", `that of ${at} opens`);
    return failed("header copy", `that of ${at} does not open`, hint);
  } catch (thrown) {
    return failedBy("header copy", asLuksmithError(thrown));
  }
}
