import { Command } from "commander";
import { findMapping } from "../encryption/dm-crypt/kernel-mapping.js";
import { MAPPING_PLACES } from "../encryption/index.js";
import { EXIT } from "../error/catalogue.js";
import { visible } from "../error/printable.js";
import type { ReapOutput } from "../generated/reap.js";
import validate from "../generated/validate-reap.cjs";
import type { Logger } from "../log/logger.js";
import { Settlement } from "../migration/settlement.js";
import { GuestLocks } from "../plan/guest-locks.js";
import { type Reaped, Reaper } from "../reap/reaper.js";
import { renderReaped } from "../reap/render.js";
import { ARRIVALS, COMMAND_RUNNER, HOST, LOGGER, MAPPINGS, STORAGE } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";
import { annotateAll, reapProxmox } from "./reap-proxmox.js";

/** Seconds to wait for another command on a guest; it can take hours, and there is a next time. */
const PATIENCE = 2;

interface Options {
  readonly dryRun?: true;
  readonly json?: true;
}

export function reapCommand(): Command {
  return new Command("reap")
    .summary("clean up what guests that crashed have left")
    .description(
      "Closes the mappings and withdraws the host secrets that Luksmith made for guests that do not run. Guests that run or are being started keep theirs; what is not Luksmith's is never touched. Puts the configurations of guests right that have migrated here with their storage.",
    )
    .option("--dry-run", "say what would be cleaned, change nothing")
    .option("--json", "for machines")
    .action(async ({ dryRun, json }: Options) => {
      const container = open();
      const [host, arrivals] = [container.resolve(HOST), container.resolve(ARRIVALS)];
      const locks = new GuestLocks(container.resolve(COMMAND_RUNNER), undefined, PATIENCE);
      const reaper = new Reaper({
        mappings: container.resolve(MAPPINGS),
        ...{ host, locks, arrivals },
        settlement: new Settlement({ host, locks, arrivals, storage: container.resolve(STORAGE) }),
        places: { directory: MAPPING_PLACES.claims, isOpen: (name) => findMapping(name) !== undefined },
      });
      const logger = container.resolve(LOGGER);
      try {
        const manner = dryRun ? "dry-run" : "apply";
        const leftovers = [...(await reaper.reap(manner)), ...(await reapProxmox(container, manner))];
        if (manner === "apply") await annotateAll(container);
        const clean = leftovers.every(({ outcome }) => outcome === "cleaned");
        for (const one of leftovers) log(one, logger);
        if (json) printJson(validate, { clean, leftovers } satisfies ReapOutput);
        else if (leftovers.length === 0) print("nothing to do: guests that do not run have left nothing");
        else for (const one of leftovers) print(renderReaped(one));
        if (leftovers.some(({ outcome }) => outcome === "left")) process.exitCode = EXIT.unavailable;
      } finally {
        await logger.close();
      }
    });
}

function log(reaped: Reaped, logger: Logger): void {
  if (reaped.outcome === "found") return;
  const { guest, disk } = reaped;
  const name = guest?.name ?? guest?.id;
  logger.info(visible(renderReaped(reaped)), { ...(name && { guest: name }), ...(disk && { disk }) });
}
