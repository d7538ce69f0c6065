import { Command } from "commander";
import validate from "../generated/validate-keys.cjs";
import type { KeysOutput } from "../generated/keys.js";
import { canList } from "../keystore/keystore.js";
import { KEYRING } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

export function keysCommand(): Command {
  return new Command("keys")
    .summary("the keys that the keystores hold")
    .description("Shows which keys the keystores hold, and whose they are.")
    .addCommand(listCommand());
}

function listCommand(): Command {
  return new Command("list")
    .summary("list key records, never passphrases")
    .description("Lists the record of every key in every keystore, never a passphrase.")
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      const keys = await listKeys();
      if (json) {
        printJson(validate, { keys } satisfies KeysOutput);
        return;
      }
      if (keys.length === 0) {
        print("no keys yet");
        return;
      }
      printTable(
        ["uuid", "state", "guest", "disk", "volume", "keystore", "created"],
        keys.map((key) => [
          key.uuid,
          key.state,
          key.guest.name,
          key.disk,
          key.volume,
          key.keystore,
          key.createdAt,
        ]),
      );
    });
}

async function listKeys(): Promise<KeysOutput["keys"]> {
  const keystores = open().resolve(KEYRING).all().filter(canList);
  const lists = await Promise.all(
    keystores.map(async (keystore) => {
      const records = await keystore.list();
      return records.map((record) => ({ keystore: keystore.name, ...record }));
    }),
  );
  return lists.flat();
}
