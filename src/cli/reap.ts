import { Command, Option } from "commander";
import { findMapping } from "../encryption/dm-crypt/kernel-mapping.js";
import { MAPPING_PLACES } from "../encryption/index.js";
import type { Container } from "../di.js";
import { EXIT } from "../error/catalogue.js";
import { visible } from "../error/printable.js";
import type { ReapOutput } from "../generated/reap.js";
import validate from "../generated/validate-reap.cjs";
import type { Logger } from "../log/logger.js";
import { Settlement } from "../migration/settlement.js";
import { KeyLocks } from "../keystore/key-locks.js";
import { GuestLocks } from "../plan/guest-locks.js";
import { KeyUses } from "../rotate/key-uses.js";
import { reapFormerKeys } from "../reap/former-keys.js";
import { wakePausedGuests } from "../reap/paused-guests.js";
import { type Reaped, Reaper } from "../reap/reaper.js";
import { renderReaped } from "../reap/render.js";
import { isTimeToLook, noteLook } from "../reap/stamp.js";
import {
  ARRIVALS,
  AUDIT,
  CLOCK,
  COMMAND_RUNNER,
  HOST,
  KEYRING,
  LOGGER,
  MAPPINGS,
  SETTINGS,
  STORAGE,
} from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";
import { annotateAll, reapProxmox } from "./reap-proxmox.js";

/** When the timer last looked for former passphrases. */
const FORMER_STAMP = "/run/luksmith/looked-for-former-passphrases";
/** Seconds to wait for another command on a guest; it can take hours, and there is a next time. */
const PATIENCE = 2;

interface Options {
  readonly dryRun?: true;
  readonly json?: true;
  readonly timer?: true;
}

export function reapCommand(): Command {
  return new Command("reap")
    .summary("clean up what guests that crashed have left")
    .description(
      "Closes the mappings and withdraws the host secrets that Luksmith made for guests that do not run. Guests that run or are being started keep theirs; what is not Luksmith's is never touched. Puts the configurations of guests right that have migrated here with their storage. Lets guests run again that a killed conversion has left paused. Deletes former passphrases that were kept long enough.",
    )
    .option("--dry-run", "say what would be cleaned, change nothing")
    .option("--json", "for machines")
    .addOption(new Option("--timer", "as the timer, which comes every few minutes").hideHelp())
    .action(async ({ dryRun, json, timer }: Options) => {
      const container = open();
      const [host, arrivals] = [container.resolve(HOST), container.resolve(ARRIVALS)];
      const runner = container.resolve(COMMAND_RUNNER);
      const locks = new GuestLocks(runner, undefined, PATIENCE);
      const keyLocks = new KeyLocks(runner, undefined, PATIENCE);
      const reaper = new Reaper({
        mappings: container.resolve(MAPPINGS),
        ...{ host, locks, arrivals },
        settlement: new Settlement({ host, locks, arrivals, storage: container.resolve(STORAGE) }),
        places: { directory: MAPPING_PLACES.claims, isOpen: (name) => findMapping(name) !== undefined },
      });
      const logger = container.resolve(LOGGER);
      try {
        const manner = dryRun ? "dry-run" : "apply";
        const leftovers = [
          ...(await wakePaused(container, locks, manner)),
          ...(await reaper.reap(manner)),
          ...(await reapProxmox(container, { locks, keyLocks }, manner)),
          ...(looksForFormer(manner, timer) ? await reapFormer(container, { locks, keyLocks }, manner) : []),
        ];
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

/** Where the host manager copies disks of running guests. */
async function wakePaused(
  container: Container,
  locks: GuestLocks,
  manner: "apply" | "dry-run",
): Promise<Reaped[]> {
  const mirror = await container.resolve(HOST).mirror?.();
  return mirror === undefined ? [] : await wakePausedGuests(manner, { mirror, locks });
}

/** Once an hour by the timer, which comes every few minutes; whoever else calls the command means it. */
function looksForFormer(manner: "apply" | "dry-run", timer: true | undefined): boolean {
  if (!timer || manner === "dry-run") return true;
  if (!isTimeToLook(FORMER_STAMP)) return false;
  noteLook(FORMER_STAMP);
  return true;
}

async function reapFormer(
  container: Container,
  locks: { readonly locks: GuestLocks; readonly keyLocks: KeyLocks },
  manner: "apply" | "dry-run",
): Promise<Reaped[]> {
  return await reapFormerKeys(manner, {
    keepFormer: container.resolve(SETTINGS).rotation.keepFormer,
    keyring: container.resolve(KEYRING),
    storage: container.resolve(STORAGE),
    uses: () => KeyUses.of(container.resolve(HOST)),
    ...locks,
    ...{ audit: container.resolve(AUDIT), now: container.resolve(CLOCK).now() },
  });
}

function log(reaped: Reaped, logger: Logger): void {
  if (reaped.outcome === "found") return;
  const { guest, disk } = reaped;
  const name = guest?.name ?? guest?.id;
  logger.info(visible(renderReaped(reaped)), { ...(name && { guest: name }), ...(disk && { disk }) });
}
