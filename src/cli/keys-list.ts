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
    keys.map((key) => [
      key.uuid,
      // its volume was destroyed, on Proxmox VE
      key.freedAt === undefined ? key.state : "freed",
      key.guest.name,
      key.disk,
      key.volume,
      key.keystore,
      key.createdAt,
    ]),
  );
}
