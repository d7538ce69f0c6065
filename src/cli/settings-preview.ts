import { Command } from "commander";
import { compose } from "../container.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { problemOf } from "../error/problem.js";
import type { SettingsPreviewOutput } from "../generated/settings-preview.js";
import validate from "../generated/validate-settings-preview.cjs";
import type { GuestSummary, HostAdapter } from "../host/host-adapter.js";
import { detectHost } from "../host/index.js";
import { type PreviewedDisk, previewRequests } from "../request/preview.js";
import { secretsDirectoryOf, settingsPath } from "../settings/paths.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { HOST } from "../tokens.js";
import { requireRoot } from "./open.js";
import { print, printJson, printTable } from "./output.js";
import { readGivenSettings } from "./settings-input.js";

export function previewCommand(): Command {
  return new Command("preview")
    .summary("show what settings from standard input would ask of each disk")
    .description(
      "Shows which rule of the settings on standard input speaks for each disk of this host, and what is wished for " +
        "it, whatever is true of the disk: luksmith settings preview < FILE. Changes nothing.",
    )
    .option("--json", "for machines")
    .action(preview);
}

type PreviewedGuest = SettingsPreviewOutput["guests"][number];

async function preview({ json }: { json?: true }): Promise<void> {
  requireRoot();
  using given = readGivenSettings("luksmith settings preview < FILE", secretsDirectoryOf(settingsPath()));
  const { settings } = given;
  const host = compose({ settings, host: detectHost(), humanLevel: "warn" }).resolve(HOST);
  const guests: PreviewedGuest[] = [];
  for (const summary of await host.listGuests())
    // what this host cannot see of the others would look like damage
    if (!summary.elsewhere) guests.push(await previewOf(host, summary, settings));
  if (json) printJson(validate, { guests } satisfies SettingsPreviewOutput);
  else show(guests);
}

/** A guest that cannot be read (it is transient, or just gone) hides no other. */
async function previewOf(
  host: HostAdapter,
  { id, name }: GuestSummary,
  settings: EffectiveSettings,
): Promise<PreviewedGuest> {
  try {
    return { id, name, disks: previewRequests(await host.readGuest(id), settings) };
  } catch (thrown) {
    return { id, name, disks: [], problem: problemOf(asLuksmithError(thrown)) };
  }
}

function show(guests: readonly PreviewedGuest[]): void {
  if (guests.length === 0) {
    print("this host has no guests");
    return;
  }
  const heading = ["guest", "disk", "rule", "wish", "profile", "asked by"];
  printTable(heading, guests.flatMap(rowsOf));
  for (const { name, problem, disks } of guests) {
    const problems = [problem, ...disks.map((disk) => disk.problem)].filter((one) => one !== undefined);
    for (const { what, why } of problems)
      print(`${printable(name)}: ${what}${why === undefined ? "" : `: ${why}`}`);
  }
}

function rowsOf({ name, problem, disks }: PreviewedGuest): string[][] {
  const guest = printable(name);
  if (problem !== undefined) return [[guest, "-", "-", "unknown", "-", "-"]];
  return disks.map((disk) => [guest, ...cellsOf(disk)]);
}

function cellsOf({ device, rule, wish, profile, askedBy }: PreviewedDisk): string[] {
  return [device, rule ?? "-", wish, profile ?? "-", askedBy.join(", ") || "-"];
}
