/**
 * `npm run bench`: what Luksmith costs, as ratios of times taken in one run. Times of different machines or minutes
 * do not compare, so a missed target is said plainly and is no failure. With --json, one JSON object on stdout.
 */
import { cpus } from "node:os";
import { installPlugin } from "./plugin.js";
import { measure, SECTIONS } from "./measure.js";
import { renderFindings, verdict } from "./report.js";
import type { Findings } from "./row.js";
import { startLibvirtHost } from "../lab/libvirt-host.js";

const json = process.argv.includes("--json");

const findings = await bench();
if (json) {
  const machine = { node: process.versions.node, processor: cpus()[0]?.model, processors: cpus().length };
  const rows = findings.rows.map((row) => ({ ...row, verdict: verdict(row) }));
  process.stdout.write(`${JSON.stringify({ machine, rows, memory: findings.memory }, undefined, 2)}\n`);
} else process.stdout.write(`${renderFindings(findings)}\n`);

async function bench(): Promise<Findings> {
  await using host = await startLibvirtHost();
  await installPlugin(host);
  const parts: Findings[] = [];
  for (const section of SECTIONS) {
    const started = performance.now();
    process.stderr.write(`measuring ${section}`.padEnd(40));
    parts.push(await measure(host, section));
    process.stderr.write(
      `${Math.round((performance.now() - started) / 1000)
        .toString()
        .padStart(5)} s\n`,
    );
  }
  return { rows: parts.flatMap(({ rows }) => rows), memory: parts.flatMap(({ memory }) => memory) };
}
