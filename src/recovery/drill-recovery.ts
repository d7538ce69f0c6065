import type { Keyslots } from "../encryption/keyslots.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { volumeName } from "../storage/volume.js";
import { shellWord } from "../error/shell-word.js";
import { commandFor, type DrillCheck, failed, ok, warning } from "./drill-check.js";
import { escrowCheck, type EscrowPorts } from "./drill-escrow.js";
import { missingRecipients, unwantedRecipients } from "./policy.js";
import type { RecoverableDisk } from "./recoverable-disk.js";
import { recoveryOf } from "./recovery-entry.js";

interface Drilled {
  readonly disk: RecoverableDisk;
  readonly header: Buffer;
  readonly record: KeyRecord;
}

/** Whether each recovery keyslot that the key's record names would open. */
export async function recoveryChecks(
  { disk, header, record }: Drilled,
  ports: EscrowPorts,
): Promise<DrillCheck[]> {
  const add = commandFor(disk, "escrow add", " --passphrase");
  const entries = recoveryOf(record);
  if (entries.length === 0)
    return [warning("recovery", "no recovery keyslot: without the keystore the disk is lost", add)];
  const used = ports.keyslots.used(header);
  const checks: DrillCheck[] = [];
  for (const { keyslot, kind } of entries) {
    if (!used.includes(keyslot)) {
      const hint = `${commandFor(disk, "escrow remove", ` ${keyslot}`)}, and: ${add}`;
      checks.push(failed("recovery", `keyslot ${keyslot}, which the key's record names, is not there`, hint));
    } else if (kind === "passphrase") {
      const hint = `luksmith recover ${shellWord(volumeName(disk.volume))} tries what is on paper, and changes nothing`;
      checks.push(warning("recovery", `keyslot ${keyslot} is there, and its passphrase was not tried`, hint));
    } else {
      checks.push(ok("recovery", `keyslot ${keyslot} is there`));
      checks.push(await escrowCheck({ uuid: disk.uuid, keyslot, header }, ports));
    }
  }
  return checks;
}

/** Whether those, and only those, can open the disk whom the settings want. */
export function policyChecks(
  { disk, record }: Omit<Drilled, "header">,
  settings: Pick<EffectiveSettings, "profiles">,
): DrillCheck[] {
  const missing = missingRecipients(record, settings);
  const wanted = commandFor(disk, "escrow add", " --policy");
  return [
    ...(missing.length === 0
      ? []
      : [warning("recovery", `the settings want a keyslot for ${missing.join(", ")}`, wanted)]),
    ...unwantedRecipients(record, settings).map(({ keyslot, recipients }) =>
      warning(
        "recovery",
        `keyslot ${keyslot} is for ${recipients.join(", ")} too, whom the settings do not name`,
        commandFor(disk, "escrow remove", ` ${keyslot}`),
      ),
    ),
  ];
}

/** Whether every keyslot is somebody's. @param own that of the key's passphrase */
export function keyslotsCheck(
  { disk, header, record }: Drilled,
  own: number | undefined,
  keyslots: Keyslots,
): DrillCheck {
  const { rotation } = record;
  const recovery = recoveryOf(record).map(({ keyslot }) => keyslot);
  const known = new Set([own, rotation?.keyslot, rotation?.former, ...recovery]);
  const unknown = keyslots.used(header).filter((keyslot) => !known.has(keyslot));
  const [first] = unknown;
  if (first === undefined) return ok("keyslots", "every one is accounted for");
  return warning(
    "keyslots",
    `nobody knows what opens keyslot ${unknown.join(", ")}`,
    `if it is nobody's: ${commandFor(disk, "escrow remove", ` ${first} --unknown`)}`,
  );
}
