import { Command } from "commander";
import type { Trait } from "../encryption/traits.js";
import { findTool, packageOf, type Tool } from "../exec/tools.js";
import type { CapabilitiesOutput } from "../generated/capabilities.js";
import validate from "../generated/validate-capabilities.cjs";
import { KEYSTORE_TYPES } from "../keystore/index.js";
import { canAllocate, type StorageBackend } from "../storage/storage-backend.js";
import { HOST, PROVIDERS, SETTINGS, STORAGE } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

type BackendCapability = CapabilitiesOutput["backends"][number];

export function capabilitiesCommand(): Command {
  return new Command("capabilities")
    .summary("what this host can do now")
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      const found = await capabilities();
      if (json) {
        printJson(validate, found);
        return;
      }
      print(`host: ${found.host.type} ${found.host.libvirt ?? ""}, QEMU ${found.host.qemu}`);
      print(
        `traits: ${found.traits.join(", ") || "none: this host cannot encrypt disks, see luksmith doctor"}`,
      );
      print(`keystore types: ${found.keystores.join(", ")}\n`);
      printTable(["backend", "formats", "encrypts", "allocates", "note"], found.backends.map(rowOf));
    });
}

async function capabilities(): Promise<CapabilitiesOutput> {
  const container = open();
  const host = container.resolve(HOST);
  const { qemu, libvirt } = await host.versions();
  const offered = await container.resolve(PROVIDERS).traits(() => Promise.resolve({ qemu, libvirt }));
  const storage: Readonly<Record<string, Pick<BackendCapability, "formatting"> | undefined>> =
    container.resolve(SETTINGS).storage;
  const backends = container
    .resolve(STORAGE)
    .all()
    .map((backend) =>
      capabilityOf(backend, { offered, formatting: storage[backend.type]?.formatting ?? "new-volumes" }),
    );
  return {
    traits: offered.filter((trait) => backends.some(({ traits }) => traits.includes(trait))),
    host: { type: host.type, qemu, ...(libvirt === undefined ? {} : { libvirt }) },
    backends,
    keystores: [...KEYSTORE_TYPES],
  };
}

/**
 * A backend offers what the host does, unless it lacks a program here, or the settings let nobody format its volumes.
 * @param offered the host's traits
 */
export function capabilityOf(
  backend: StorageBackend,
  { offered, formatting }: { readonly offered: readonly Trait[] } & Pick<BackendCapability, "formatting">,
  toolPath: (tool: Tool) => string | undefined = findTool,
): BackendCapability {
  const { type, formats, tools } = backend;
  const missing = tools.filter((tool) => toolPath(tool) === undefined);
  const able = missing.length === 0 && formatting === "new-volumes";
  return {
    type,
    formats: [...formats],
    traits: able ? [...offered] : [],
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
  const yesOrNo = (yes: boolean) => (yes ? "yes" : "no");
  return [type, formats.join(", "), yesOrNo(traits.length > 0), yesOrNo(allocates), notes.join("; ")];
}
