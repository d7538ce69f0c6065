import { Command } from "commander";
import { parsedHeader, usedKeyslots } from "../encryption/keyslot-use.js";
import type { HeaderShowOutput } from "../generated/header-show.js";
import validate from "../generated/validate-header-show.cjs";
import { KEYRING, STORAGE } from "../tokens.js";
import {
  describeTarget,
  headerPorts,
  type HeaderOptions,
  type KnownTarget,
  knownTargets,
  nameOf,
  withTarget,
} from "./header-options.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

export function showCommand(): Command {
  return withTarget(new Command("show"))
    .summary("show a LUKS header and its keyslots")
    .description(
      "Shows the LUKS header of a volume as it is, which keyslots are in use, and which of them the key's passphrase opens.",
    )
    .option("--json", "for machines")
    .action(show);
}

type Shown = HeaderShowOutput["volumes"][number];

async function show(what: string, disk: string | undefined, options: HeaderOptions): Promise<void> {
  const container = open();
  const shown: { readonly target: KnownTarget; readonly header: Shown }[] = [];
  for (const target of await knownTargets(container, what, disk, options)) {
    const backend = await container.resolve(STORAGE).backendFor(target.volume);
    const header = await backend.readHeader(target.volume);
    const opens = await openedBy(header, target);
    shown.push({ target, header: { ...describeTarget(target), ...describe(header), ...opens } });
  }
  if (options.json)
    printJson(validate, { volumes: shown.map(({ header }) => header) } satisfies HeaderShowOutput);
  else
    shown.forEach(({ target, header }, index) => print(`${index > 0 ? "\n" : ""}${render(target, header)}`));

  async function openedBy(header: Buffer, { uuid }: KnownTarget): Promise<Pick<Shown, "opens">> {
    const location = await container.resolve(KEYRING).locate(uuid);
    if (location.kind !== "found") return {};
    using passphrase = location.key.passphrase;
    return { opens: (await headerPorts(container).keyslots.find(header, passphrase)) ?? "none" };
  }
}

function describe(
  bytes: Buffer,
): Pick<Shown, "uuid" | "version" | "cipher" | "hash" | "keySize" | "length" | "keyslots"> {
  const { uuid, version, cipher, hash, keySize, payloadOffset: length } = parsedHeader(bytes);
  return { uuid, version, cipher, hash, keySize, length, keyslots: [...usedKeyslots(bytes)] };
}

function render(target: KnownTarget, header: Shown): string {
  const { uuid, version, cipher, keySize, hash, keyslots, opens } = header;
  const lines = [
    ["volume", nameOf(target)],
    ["LUKS UUID", uuid === target.uuid ? uuid : `${uuid}, and the guest names key ${target.uuid}`],
    ["version", String(version)],
    ["cipher", `${cipher}, ${keySize} bits, ${hash}`],
    ["keyslots in use", keyslots.join(", ")],
    ["opened by its key", opens === undefined ? "no keystore gave the key" : opensText(opens)],
  ] as const;
  return lines.map(([name, value]) => `${`${name}:`.padEnd(20)}${value}`).join("\n");
}

function opensText(opens: number | "none"): string {
  return opens === "none" ? "none" : `keyslot ${opens}`;
}
