import { existsSync } from "node:fs";
import { Command } from "commander";
import type { Container } from "../di.js";
import type { EscrowListOutput } from "../generated/escrow-list.js";
import validate from "../generated/validate-escrow-list.cjs";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { recordsOfGuest } from "../keystore/transfer/of-guest.js";
import { EscrowFiles } from "../recovery/escrow-files.js";
import { recoveryOf } from "../recovery/recovery-entry.js";
import { HOST, SETTINGS } from "../tokens.js";
import { askKeystores, reportFailures, unavailableIn } from "./ask-keystores.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";
import { wantedGuest } from "./wanted-guest.js";

type Listed = EscrowListOutput["keyslots"][number];

export function listCommand(): Command {
  return new Command("list")
    .summary("list recovery keyslots")
    .description(
      "Lists the recovery keyslots that the keys' records name, and the escrow files of this host.",
    )
    .argument("[guest]", "name, UUID or VMID; all guests without it")
    .option("--json", "for machines")
    .action(list);
}

async function list(guest: string | undefined, { json }: { json?: true }): Promise<void> {
  const container = open();
  const asked = await askKeystores(container, (keystore) => keystore.find({}));
  const all = asked.answers.flatMap(({ answer }) => answer);
  const records = guest === undefined ? all : recordsOfGuest(all, await wantedGuest(container, guest));
  const files = new EscrowFiles(container.resolve(SETTINGS).recovery.directory);
  const current = await currentKeys(container);
  const keyslots = records.flatMap((record) => listed(record, files, current));
  if (json) printJson(validate, { keyslots, ...unavailableIn(asked) } satisfies EscrowListOutput);
  else if (keyslots.length === 0) print("no recovery keyslots");
  else {
    const rows = keyslots.map((each) => [
      ...[each.guest, each.disk, String(each.keyslot), each.kind, each.createdAt],
      ...[each.recipients?.join(" ") ?? "", each.file ?? ""],
      each.current === false ? `${each.uuid} (not the disk's key)` : each.uuid,
    ]);
    printTable(["guest", "disk", "keyslot", "kind", "made", "recipients", "file", "key"], rows);
  }
  reportFailures(asked);
}

/** The keys that disks of this host's guests have, and the guests; undefined where the host cannot tell. */
async function currentKeys(container: Container): Promise<CurrentKeys | undefined> {
  try {
    const host = container.resolve(HOST);
    const [keys, guests] = [new Set<string>(), new Set<string>()];
    for (const { id } of await host.listGuests()) {
      const configured = await host.readGuest(id);
      const guest = (await host.identified?.(configured)) ?? configured;
      guests.add(guest.id);
      for (const { encryption_secret_uuid: uuid } of Object.values(guest.disks.mapping))
        if (uuid !== undefined) keys.add(uuid);
    }
    return { keys, guests };
  } catch {
    // what is listed are records: the mark is something besides
    return undefined;
  }
}

interface CurrentKeys {
  readonly keys: ReadonlySet<string>;
  /** Ids. */
  readonly guests: ReadonlySet<string>;
}

/** Undefined for a guest that is not here: another host knows its disks. */
function isCurrent({ uuid, guest }: KeyRecord, current: CurrentKeys | undefined): boolean | undefined {
  if (current?.keys.has(uuid)) return true;
  return current?.guests.has(guest.id) ? false : undefined;
}

function listed(record: KeyRecord, files: EscrowFiles, known: CurrentKeys | undefined): Listed[] {
  const uuid = keyUuidOf(record);
  const current = isCurrent(record, known);
  return recoveryOf(record).map(({ keyslot, kind, recipients, createdAt }) => {
    const file = files.path(uuid, keyslot);
    return {
      ...{
        guest: record.guest.name,
        disk: record.disk,
        volume: record.volume,
        uuid,
        keyslot,
        kind,
        createdAt,
      },
      ...(recipients && { recipients }),
      ...(kind === "recipients" && existsSync(file) && { file }),
      ...(current !== undefined && { current }),
    };
  });
}
