import { Argument, Command } from "commander";
import type { KeysFormerOutput } from "../generated/keys-former.js";
import validate from "../generated/validate-keys-former.cjs";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { SETTINGS } from "../tokens.js";
import { askKeystores, reportFailures, unavailableIn } from "./ask-keystores.js";
import { parseKeyArgument } from "./key-argument.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

const DAY = 86_400_000;

type Former = KeysFormerOutput["former"][number];

export function formerCommand(): Command {
  return new Command("former")
    .summary("list the former passphrases of a key that are kept")
    .description(
      "Lists the records of a key's former passphrases, which open old copies of its volume and of its LUKS header. " +
        "Never a passphrase.",
    )
    .addArgument(new Argument("<uuid>", "UUID of the key").argParser(parseKeyArgument))
    .option("--json", "for machines")
    .action(listFormer);
}

async function listFormer(uuid: KeyUuid, { json }: { json?: true }): Promise<void> {
  const container = open();
  const { keepFormer } = container.resolve(SETTINGS).rotation;
  const asked = await askKeystores(container, (keystore) => keystore.find({ archivedOf: uuid }));
  const former = asked.answers
    .flatMap(({ keystore, answer }) =>
      answer.flatMap(({ uuid: own, archived }): Former[] => {
        if (archived === undefined) return [];
        const { generation, at } = archived;
        const until = new Date(Date.parse(at) + keepFormer * DAY).toISOString();
        return [{ uuid: own, generation, archivedAt: at, keptUntil: until, keystore: keystore.name }];
      }),
    )
    .sort((a, b) => b.generation - a.generation);
  if (json) printJson(validate, { uuid, former, ...unavailableIn(asked) } satisfies KeysFormerOutput);
  else if (former.length > 0) {
    printTable(
      ["number", "replaced", "kept until", "uuid", "keystore"],
      former.map((one) => [
        ...[String(one.generation), one.archivedAt, one.keptUntil, one.uuid, one.keystore],
      ]),
    );
  } else if (asked.failures.length === 0) print(`no former passphrase of key ${uuid} is kept`);
  reportFailures(asked);
}
