import { Argument, Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeysShowOutput } from "../generated/keys-show.js";
import validate from "../generated/validate-keys-show.cjs";
import type { Key, Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { disposeOf } from "../keystore/transfer/collect.js";
import { differenceOf } from "../keystore/transfer/compare-keys.js";
import { askKeystores, reportFailures, unavailableIn } from "./ask-keystores.js";
import { AUDIT } from "../tokens.js";
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
  const container = open();
  const audit = container.resolve(AUDIT);
  audit.requireWritable();
  const asked = await askKeystores(container, (keystore) => keystore.fetch(uuid));
  const copies = asked.answers.flatMap(({ keystore, answer }) =>
    answer === undefined ? [] : [{ keystore, key: answer }],
  );
  const agree = agreement(copies.map(({ key }) => key));
  disposeOf(copies.map(({ key }) => key));
  await audit.record(
    ...copies.map(({ keystore: { name: keystore }, key: { record } }) => {
      const { guest, disk, volume } = record;
      return { event: "show", guest, disk, volume, key: uuid, keystore, result: "done" } as const;
    }),
  );
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
    ...lifeOf(record),
  ] as const;
  if (index > 0) print("");
  for (const [name, value] of lines) print(`${`${name}:`.padEnd(12)}${value}`);
}

/** What has become of the key since it was made. */
function lifeOf(record: Key["record"]): (readonly [string, string])[] {
  const { generation, rotatedAt, rotation, archived, conversion, recovery = [], freedAt } = record;
  const keyslots = recovery.map(({ keyslot, kind }) => `keyslot ${keyslot} (${kind})`).join(", ");
  const since = rotatedAt === undefined ? "" : `, since ${rotatedAt}`;
  return [
    ...(generation === undefined ? [] : [["passphrase", `number ${generation}${since}`] as const]),
    ...(rotation === undefined ? [] : [["rotation", `not finished, since ${rotation.startedAt}`] as const]),
    ...(conversion === undefined
      ? []
      : [["conversion", `to ${conversion.to}, not finished, since ${conversion.startedAt}`] as const]),
    ...(archived === undefined
      ? []
      : [["former of", `${archived.of}, its number ${archived.generation}, until ${archived.at}`] as const]),
    ...(keyslots === "" ? [] : [["recovery", keyslots] as const]),
    ...(freedAt === undefined ? [] : [["freed", freedAt] as const]),
  ];
}
