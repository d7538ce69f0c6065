import { Command } from "commander";
import type { Container } from "../di.js";
import { CATALOGUE, EXIT } from "../error/catalogue.js";
import type { MigrateCheckOutput } from "../generated/migrate-check.js";
import validate from "../generated/validate-migrate-check.cjs";
import { loadManifest } from "../manifest/load.js";
import type { CheckFinding } from "../migration/check-finding.js";
import type { CheckedDisk } from "../migration/checked-disks.js";
import { checkReport, type CheckReport, type Intent } from "../migration/check-report.js";
import { type MigrationRoute, parseRoute, type RouteOptions } from "../migration/transport.js";
import { HOST, SETTINGS } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";

interface Options extends RouteOptions {
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  luksmith migrate-check web1 --to qemu+tls://host2/system
  luksmith migrate-check web1 --to qemu+tls://host2/system --copy-storage --tls
`;

export function migrateCheckCommand(): Command {
  return new Command("migrate-check")
    .summary("ask the target of a migration whether it would take a guest")
    .description(
      "Asks the Luksmith of another host what it would do if the guest migrated there now; nothing is changed on " +
        "either host. Run it on the source. Says what virsh migrate must be told, and what could be read on the way.",
    )
    .argument("<guest>", "name or UUID")
    .requiredOption("--to <uri>", "libvirt connection URI of the target, as virsh migrate is given it")
    .option("--copy-storage", "the hosts do not share the storage: virsh migrate --copy-storage-all")
    .option("--tls", "QEMU encrypts what it sends: virsh migrate --tls")
    .option(
      "--tunnelled",
      "memory goes through the connection of the two libvirts: virsh migrate --p2p --tunnelled",
    )
    .option("--migrate-uri <uri>", "where memory goes to: virsh migrate --migrateuri")
    .option("--disks-uri <uri>", "where storage goes to: virsh migrate --disks-uri")
    .option("--json", "for machines")
    .addHelpText("after", EXAMPLES)
    .action(async (name: string, { json, ...options }: Options) => {
      const route = parseRoute(options);
      await checkMigration(open(), name, { route, form: json ? "json" : "text" });
    });
}

export async function checkMigration(
  container: Container,
  name: string,
  { route, form }: { readonly route: MigrationRoute; readonly form: "json" | "text" },
): Promise<void> {
  const host = container.resolve(HOST);
  const configured = await host.readGuest(name);
  const { id, running, saved } = configured;
  // a disk that was attached to the running guest alone migrates as well
  const { disks } = running ? await host.readRunningGuest(configured) : configured;
  const intent: Intent = {
    guest: { id, name: configured.name, disks, running, saved },
    route,
    here: container.resolve(SETTINGS).libvirtUri,
    version: loadManifest().version,
  };
  const report = checkReport(intent, await host.migration.ask(configured, route.target.uri));
  if (form === "json") printJson(validate, outputOf(intent, report));
  else show(intent, report);
  process.exitCode = exitCodeOf(report);
}

/** That of the first reason against it. */
function exitCodeOf({ findings }: CheckReport): number {
  const reason = findings.find(({ level }) => level === "refused");
  if (reason === undefined) return EXIT.ok;
  // the target may be newer, and have errors that are not in the catalogue here
  return isKnown(reason.code) ? CATALOGUE[reason.code].exit : EXIT.refused;
}

function isKnown(code: string | undefined): code is keyof typeof CATALOGUE {
  return code !== undefined && Object.hasOwn(CATALOGUE, code);
}

function outputOf({ guest, route }: Intent, report: CheckReport): MigrateCheckOutput {
  const { disks, findings, wires, command } = report;
  return {
    guest: { id: guest.id, name: guest.name, running: guest.running },
    target: route.target.uri,
    able: command !== undefined,
    disks: disks.map(outputOfDisk),
    findings: [...findings],
    wires: [...wires],
    ...(command !== undefined && { command }),
  };
}

function outputOfDisk({
  device,
  volume,
  content,
  key,
  openedBy,
}: CheckedDisk): MigrateCheckOutput["disks"][number] {
  return { device, volume, content, ...(key && { key }), ...(openedBy && { openedBy }) };
}

function show({ guest, route }: Intent, { disks, findings, command }: CheckReport): void {
  print(`${guest.name} ${command === undefined ? "cannot" : "can"} migrate to ${route.target.uri}`);
  if (disks.length > 0) {
    print("");
    printTable(
      ["disk", "content there", "opened by", "key", "volume"],
      disks.map(({ device, content, openedBy, key, volume }) => [
        ...[device, content, openedBy ?? "", content === "copied" ? "one of its own" : (key ?? ""), volume],
      ]),
    );
  }
  print("");
  // what would be sent, and how, is no question where nothing would be
  const isSent = command !== undefined;
  findings
    .filter(({ about, level }) => isSent || about !== "memory" || level === "refused")
    .forEach(showFinding);
  if (command !== undefined) print(`\n${command}`);
}

function showFinding({ level, about, what, why, hint }: CheckFinding): void {
  print(`${level}${about === "target" ? " by the target" : ""}: ${what}`);
  if (why !== undefined) print(`cause: ${why}`);
  if (hint !== undefined) print(`hint: ${hint}`);
}
