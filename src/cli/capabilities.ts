import { Command } from "commander";
import type { Container } from "../di.js";
import { type Offer, offersOf, traitsOn } from "../encryption/offers.js";
import { TRAIT_OF_FORMAT, traitsOf } from "../encryption/traits.js";
import { askedOnce } from "../encryption/versions.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { findTool, packageOf, type Tool } from "../exec/tools.js";
import type { CapabilitiesOutput } from "../generated/capabilities.js";
import validate from "../generated/validate-capabilities.cjs";
import { KEYSTORE_TYPES } from "../keystore/index.js";
import { canAllocate, type StorageBackend } from "../storage/storage-backend.js";
import { HOST, PROVIDERS, SETTINGS, STORAGE } from "../tokens.js";
import { answerForGuest } from "./capabilities-for.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

type BackendCapability = CapabilitiesOutput["backends"][number];

interface Options {
  readonly for?: string;
  readonly withKeys?: true;
  readonly json?: true;
}

export function capabilitiesCommand(): Command {
  return new Command("capabilities")
    .summary("what this host can do now")
    .description(
      "Shows in which formats this host encrypts new disks now, and who decrypts them. With --for: whether it could " +
        "run that guest, by exit code 0 or 3; no volume is read.",
    )
    .option(
      "--for <guest>",
      "a guest's name, UUID or VMID; on libvirt also the path of a domain XML, or - for standard input",
    )
    .option("--with-keys", "with --for: ask the keystores for the keys of its disks as well")
    .option("--json", "for machines")
    .action(async (options: Options) => {
      if (options.for === undefined) await show(options);
      else await answerForGuest(open(), options.for, options);
    });
}

async function show({ withKeys, json }: Options): Promise<void> {
  if (withKeys) throw new LuksmithError("USAGE", { what: "--with-keys needs --for", hint: "see --help" });
  const found = await capabilities(open());
  if (json) {
    printJson(validate, found);
    return;
  }
  const host = [found.host.type, found.host.libvirt ?? ""].join(" ").trimEnd();
  print(`host: ${host}, QEMU ${found.host.qemu}`);
  print(`traits: ${found.traits.join(", ") || "none: this host cannot encrypt disks, see luksmith doctor"}`);
  print(`keystore types: ${found.keystores.join(", ")}\n`);
  printTable(
    ["engine", "format", "offered", "note"],
    found.providers.map(({ provider, format, offered, reasons }) => [
      ...[provider, format, yesOrNo(offered), reasons.join("; ")],
    ]),
  );
  print("");
  printTable(["backend", "formats", "encrypts", "allocates", "note"], found.backends.map(rowOf));
}

async function capabilities(container: Container): Promise<CapabilitiesOutput> {
  const host = container.resolve(HOST);
  const settings = container.resolve(SETTINGS);
  const versions = askedOnce(() => host.versions());
  const { qemu, libvirt } = await versions();
  const offers = await offersOf(container.resolve(PROVIDERS), versions, settings);
  const storage: Readonly<Record<string, Pick<BackendCapability, "formatting"> | undefined>> =
    settings.storage;
  const backends = container
    .resolve(STORAGE)
    .all()
    .map((backend) =>
      capabilityOf(backend, { offers, formatting: storage[backend.type]?.formatting ?? "new-volumes" }),
    );
  const offered = traitsOf(offers.filter((offer) => offer.offered).map(({ format }) => format));
  return {
    traits: offered.filter((trait) => backends.some(({ traits }) => traits.includes(trait))),
    host: { type: host.type, qemu, ...(libvirt === undefined ? {} : { libvirt }) },
    engine: settings.encryption.engine,
    providers: offers.map(({ reasons, ...offer }) => ({ ...offer, reasons: [...reasons] })),
    backends,
    keystores: [...KEYSTORE_TYPES],
  };
}

/**
 * A backend offers what somebody here decrypts on such storage, unless it lacks a program, or the settings let nobody
 * format its volumes.
 */
export function capabilityOf(
  backend: StorageBackend,
  { offers, formatting }: { readonly offers: readonly Offer[] } & Pick<BackendCapability, "formatting">,
  toolPath: (tool: Tool) => string | undefined = findTool,
): BackendCapability {
  const { type, formats, tools } = backend;
  const missing = tools.filter((tool) => toolPath(tool) === undefined);
  const able = missing.length === 0 && formatting === "new-volumes";
  return {
    type,
    formats: [...formats],
    traits: able ? [...traitsOn(backend, offers)] : [],
    formatting,
    allocates: canAllocate(backend),
    missing: missing.map((program) => ({ program, package: packageOf(program) })),
  };
}

function rowOf({ type, formats, traits, formatting, allocates, missing }: BackendCapability): string[] {
  const packages = [...new Set(missing.map((program) => program.package))];
  const notes = [
    ...(packages.length === 0 ? [] : [`apt-get install ${packages.join(" ")}`]),
    ...(formatting === "never" ? ["the settings forbid formatting"] : []),
  ];
  const now = formats.filter((format) => traits.includes(TRAIT_OF_FORMAT[format]));
  return [type, formats.join(", "), now.join(", ") || "no", yesOrNo(allocates), notes.join("; ")];
}

function yesOrNo(yes: boolean): string {
  return yes ? "yes" : "no";
}
