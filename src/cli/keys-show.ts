import { Argument, Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeysShowOutput } from "../generated/keys-show.js";
import validate from "../generated/validate-keys-show.cjs";
import type { Key, Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { disposeOf } from "../keystore/transfer/collect.js";
import { differenceOf } from "../keystore/transfer/compare-keys.js";
import { askKeystores, reportFailures, unavailableIn } from "./ask-keystores.js";
import { parseKeyArgument } from "./key-argument.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

export function showCommand(): Command {
  return new Command("show")
    .summary("show one key's record and who has it, never its passphrase")
    .description("Fetches one key from every keystore, and shows its record and which of them have it.")
    .addArgument(new Argument("<uuid>", "UUID of the key").argParser(parseKeyArgument))
    .option("--json", "for machines")
    .action(show);
}

async function show(uuid: KeyUuid, { json }: { json?: true }): Promise<void> {
  const asked = await askKeystores(open(), (keystore) => keystore.fetch(uuid));
  const copies = asked.answers.flatMap(({ keystore, answer }) =>
    answer === undefined ? [] : [{ keystore, key: answer }],
  );
  const agree = agreement(copies.map(({ key }) => key));
  disposeOf(copies.map(({ key }) => key));
  if (copies.length === 0 && asked.failures.length === 0) {
    throw new LuksmithError("KEY_NOT_FOUND", {
      what: `no keystore has key ${uuid}`,
      hint: "see: luksmith keys list",
    });
  }
  if (json) {
    const records = copies.map(({ keystore, key: { record } }) => ({ keystore: keystore.name, record }));
    printJson(validate, { uuid, copies: records, agree, ...unavailableIn(asked) } satisfies KeysShowOutput);
  } else {
    copies.forEach(showCopy);
    if (!agree) print("\nthey differ: find out which one opens the disk before you delete the other one");
  }
  reportFailures(asked);
}

/** Whether all copies are one key; how far each says that its disk has come may differ. */
function agreement([first, ...others]: readonly Key[]): boolean {
  return (
    first === undefined || others.every((other) => ["none", "state"].includes(differenceOf(first, other)))
  );
}

function showCopy({ keystore, key: { record } }: { keystore: Keystore; key: Key }, index: number): void {
  const { guest, encryption } = record;
  const lines = [
    ["keystore", `${keystore.name} (${keystore.type})`],
    ["key", record.uuid],
    ["state", record.state],
    ["guest", `${guest.name} (${guest.id})`],
    ["disk", record.disk],
    ["volume", record.volume],
    [
      "encryption",
      `${encryption.format}, ${encryption.cipher}, ${encryption.keySize} bits, ${encryption.hash}`,
    ],
    ["made", record.createdAt],
    ...(record.freedAt === undefined ? [] : [["freed", record.freedAt] as const]),
  ] as const;
  if (index > 0) print("");
  for (const [name, value] of lines) print(`${`${name}:`.padEnd(12)}${value}`);
}
