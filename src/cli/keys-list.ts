import { Command } from "commander";
import type { KeysOutput } from "../generated/keys.js";
import validate from "../generated/validate-keys.cjs";
import { askKeystores, reportFailures, unavailableIn } from "./ask-keystores.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

export function listCommand(): Command {
  return new Command("list")
    .summary("list key records, never passphrases")
    .description("Lists the record of every key in every keystore, never a passphrase.")
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      const asked = await askKeystores(open(), (keystore) => keystore.find({}));
      const keys = asked.answers.flatMap(({ keystore, answer }) =>
        answer.map((record) => ({ keystore: keystore.name, ...record })),
      );
      if (json) printJson(validate, { keys, ...unavailableIn(asked) } satisfies KeysOutput);
      else show(keys, asked.failures.length === 0);
      reportFailures(asked);
    });
}

function show(keys: KeysOutput["keys"], isComplete: boolean): void {
  if (keys.length === 0) {
    if (isComplete) print("no keys yet");
    return;
  }
  printTable(
    ["uuid", "state", "guest", "disk", "volume", "keystore", "created"],
    belowTheirKeys(keys).map((key) => [
      key.uuid,
      stateOf(key),
      key.guest.name,
      key.disk,
      key.volume,
      key.keystore,
      key.createdAt,
    ]),
  );
}

/** Former passphrases below the key that had them, the newest first, and those of a key that is gone last. */
function belowTheirKeys(keys: KeysOutput["keys"]): KeysOutput["keys"] {
  const formers = keys.filter(({ archived }) => archived !== undefined);
  const placed = keys
    .filter(({ archived }) => archived === undefined)
    .flatMap((key) => {
      const its = formers.filter(({ archived }) => archived?.of === key.uuid);
      its.sort((a, b) => (b.archived?.generation ?? 0) - (a.archived?.generation ?? 0));
      return [key, ...its];
    });
  return [...placed, ...formers.filter((key) => !placed.includes(key))];
}

function stateOf({ state, freedAt, archived, conversion, rotation }: KeysOutput["keys"][number]): string {
  if (archived !== undefined) return `${state} (of ${archived.of})`;
  // its volume was destroyed, on Proxmox VE
  if (freedAt !== undefined) return "freed";
  if (conversion !== undefined) return `${state} (converting)`;
  return rotation === undefined ? state : `${state} (rotating)`;
}
