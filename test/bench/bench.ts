/**
 * `npm run bench`: what Luksmith costs, as ratios of times taken in one run. Times of different machines or minutes
 * do not compare, so a missed target is said plainly and is no failure. With --json, one JSON object on stdout.
 */
import { cpus } from "node:os";
import { installPackages } from "../lab/debian.js";
import { findGroup, type Group } from "../lab/groups.js";
import { startLibvirtHost } from "../lab/libvirt-host.js";
import { measureInUml, measureOnHost, measureOnHostInUml, measureOnNode } from "./measure.js";
import { benchMigration } from "./migration.js";
import { installPlugin } from "./plugin.js";
import { renderFindings, verdict } from "./report.js";
import type { Findings } from "./row.js";
import { parseRequest, type Section, SECTIONS, sectionsOn } from "./section.js";

const request = parseRequest(process.argv.slice(2));
switch (request.kind) {
  case "list":
    process.stdout.write(`${SECTIONS.join("\n")}\n`);
    break;
  case "refused":
    process.stderr.write(
      `error: ${request.what}\ncause: the sections are ${SECTIONS.join(", ")}\nhint: npm run bench -- --list\n`,
    );
    process.exitCode = 2;
    break;
  case "run": {
    const findings = await bench(request.sections);
    process.stdout.write(request.json ? toJson(findings) : `${renderFindings(findings)}\n`);
  }
}

/** @throws if a Debian package cannot be installed, or if anything that it timed did not work */
async function bench(sections: readonly Section[]): Promise<Findings> {
  const groups = [
    ...groupsFor(sectionsOn("host", sections), "libvirt"),
    ...groupsFor(sectionsOn("two-hosts", sections), "migration"),
    ...groupsFor(sectionsOn("node", sections), "proxmox"),
    ...groupsFor(sectionsOn("uml", sections), "faults"),
    ...groupsFor(sectionsOn("uml-host", sections), "dmcrypt"),
    ...groupsFor(sections.includes("keystores") ? ["keystores"] : [], "barbican", "kmip", "protectors"),
  ];
  const { failed } = await installPackages(groups);
  if (failed > 0) throw new Error("a Debian package that the bench needs is missing");
  const parts = [...(await benchOnHost(sectionsOn("host", sections)))];
  for (const section of sectionsOn("two-hosts", sections)) {
    parts.push(await announce(section, benchMigration));
  }
  for (const section of sectionsOn("node", sections)) {
    parts.push(await announce(section, measureOnNode));
  }
  for (const section of sectionsOn("uml", sections)) {
    parts.push(await announce(section, () => measureInUml(section)));
  }
  for (const section of sectionsOn("uml-host", sections)) {
    parts.push(await announce(section, () => measureOnHostInUml(section)));
  }
  return { rows: parts.flatMap(({ rows }) => rows), memory: parts.flatMap(({ memory }) => memory) };
}

/** What is measured uses the packages of tests, if anything is. */
function groupsFor(sections: readonly Section[], ...names: readonly string[]): Group[] {
  return sections.length === 0 ? [] : names.flatMap((name) => findGroup(name) ?? []);
}

async function benchOnHost(sections: readonly Section[]): Promise<Findings[]> {
  if (sections.length === 0) return [];
  await using host = await startLibvirtHost();
  await installPlugin(host);
  const parts: Findings[] = [];
  for (const section of sections) parts.push(await announce(section, () => measureOnHost(host, section)));
  return parts;
}

async function announce<T>(section: Section, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  process.stderr.write(`measuring ${section}`.padEnd(40));
  const result = await work();
  const seconds = Math.round((performance.now() - started) / 1000);
  process.stderr.write(`${seconds.toString().padStart(5)} s\n`);
  return result;
}

function toJson({ rows, memory }: Findings): string {
  const machine = { node: process.versions.node, processor: cpus()[0]?.model, processors: cpus().length };
  const judged = rows.map((row) => ({ ...row, verdict: verdict(row) }));
  return `${JSON.stringify({ machine, rows: judged, memory }, undefined, 2)}\n`;
}
