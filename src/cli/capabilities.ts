import { Command } from "commander";
import type { CapabilitiesOutput } from "../generated/capabilities.js";
import validate from "../generated/validate-capabilities.cjs";
import { KEYSTORE_TYPES } from "../keystore/index.js";
import { HOST, PROVIDER, STORAGE } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

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
      printTable(
        ["backend", "formats"],
        found.backends.map(({ type, formats }) => [type, formats.join(", ")]),
      );
    });
}

async function capabilities(): Promise<CapabilitiesOutput> {
  const container = open();
  const host = container.resolve(HOST);
  const { qemu, libvirt } = await host.versions();
  const traits = [...container.resolve(PROVIDER).traits({ qemu, libvirt })];
  return {
    traits,
    host: { type: host.type, qemu, ...(libvirt === undefined ? {} : { libvirt }) },
    backends: container
      .resolve(STORAGE)
      .all()
      .map(({ type, formats }) => ({ type, formats: [...formats], traits })),
    keystores: [...KEYSTORE_TYPES],
  };
}
