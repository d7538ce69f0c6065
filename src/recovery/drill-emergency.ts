import { asLuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import { digestOf } from "../headers/backup-file.js";
import type { HeaderBackup, HeaderVault } from "../headers/header-vault.js";
import { volumeName } from "../storage/volume.js";
import { commandFor, type DrillCheck, failed, failedBy, ok, warning } from "./drill-check.js";
import { escrowCheck, type EscrowPorts } from "./drill-escrow.js";
import type { RecoverableDisk } from "./recoverable-disk.js";

interface Ports extends EscrowPorts {
  readonly vault: Pick<HeaderVault, "backups" | "read">;
}

/**
 * What there is without the keystore, which does not give the key out; the last check has the command that uses it.
 * @param header of the volume, undefined where it is lost as well
 */
export async function emergencyChecks(
  disk: RecoverableDisk,
  header: Buffer | undefined,
  ports: Ports,
): Promise<DrillCheck[]> {
  const copy = newestCopy(disk, header, ports);
  const bytes = header ?? copy.bytes;
  const tried: { readonly keyslot: number; readonly check: DrillCheck }[] = [];
  if (bytes !== undefined) {
    for (const keyslot of keyslotsWithFiles(disk, ports))
      tried.push({
        keyslot,
        check: await escrowCheck({ uuid: disk.uuid, keyslot, header: bytes }, ports),
      });
  }
  const usable = tried.filter(({ check }) => check.result !== "failed");
  const best = usable.find(({ check }) => check.result === "ok") ?? usable[0];
  const options = [
    ...(header === undefined && copy.backup ? [`--header ${shellWord(copy.backup.path)}`] : []),
    ...(best ? [`--escrow ${shellWord(ports.files.path(disk.uuid, best.keyslot))} --identity FILE`] : []),
    "--store KEYSTORE",
  ];
  const command = ["luksmith recover", shellWord(volumeName(disk.volume)), ...options].join(" ");
  const checks = [copy.check, ...tried.map(({ check }) => check)];
  if (bytes === undefined)
    return [
      ...checks,
      failed("recovery", "without a header nothing opens the volume, whatever else there is"),
    ];
  return [...checks, recoveryCheck(best?.check.result, command)];
}

function recoveryCheck(best: DrillCheck["result"] | undefined, command: string): DrillCheck {
  switch (best) {
    case "ok":
      return { ...ok("recovery", "without the keystore this brings the disk back"), hint: command };
    case "warning":
      return warning("recovery", "without the keystore this is to bring the disk back", command);
    case "failed":
    case undefined:
      return warning("recovery", "no escrow file here opens the disk; a printed passphrase may", command);
  }
}

interface Copy {
  readonly check: DrillCheck;
  readonly backup?: HeaderBackup;
  readonly bytes?: Buffer;
}

function newestCopy(disk: RecoverableDisk, header: Buffer | undefined, { vault }: Ports): Copy {
  const hint = commandFor(disk, "header backup");
  try {
    const [backup] = vault.backups(disk.uuid);
    if (backup === undefined) return { check: failed("header copy", "there is none", hint) };
    const bytes = vault.read(backup);
    const at = backup.takenAt.toISOString();
    if (header !== undefined && digestOf(header) !== backup.digest) {
      const detail = `the newest one, of ${at}, differs from the volume's header`;
      return { backup, bytes, check: failed("header copy", detail, hint) };
    }
    const detail = header === undefined ? `there is one of ${at}` : `that of ${at} is as the volume's header`;
    return { backup, bytes, check: ok("header copy", detail) };
  } catch (thrown) {
    return { check: failedBy("header copy", asLuksmithError(thrown)) };
  }
}

function keyslotsWithFiles({ uuid }: RecoverableDisk, { files }: Ports): number[] {
  const unfinished = new Set(files.unfinished(uuid).map(({ keyslot }) => keyslot));
  return files
    .keyslots(uuid)
    .filter((keyslot) => !unfinished.has(keyslot))
    .sort((a, b) => a - b);
}
