import { setTimeout } from "node:timers/promises";
import { Command } from "commander";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { Logger } from "../log/logger.js";
import type { NotedArrival } from "../migration/arrivals.js";
import { Settlement } from "../migration/settlement.js";
import { ARRIVALS, GUEST_LOCKS, HOST, LOGGER, STORAGE } from "../tokens.js";
import { open } from "./open.js";

/** Milliseconds between two questions: the first answers come soon, memory can take hours. */
const FIRST_PAUSE = 300;
const LONGEST_PAUSE = 5_000;
/** Failures in a row after which the reaper is left to it. */
const PATIENCE = 60;

/** Not for people: the hook leaves it behind for a guest that arrives. */
export function settleCommand(): Command {
  return new Command("settle")
    .summary("wait for a guest that migrates here, and put its configuration right")
    .argument("<guest>", "UUID")
    .action(async (id: string) => {
      const container = open();
      const [arrivals, logger] = [container.resolve(ARRIVALS), container.resolve(LOGGER)];
      const settlement = new Settlement({
        ...{ host: container.resolve(HOST), storage: container.resolve(STORAGE), arrivals },
        locks: container.resolve(GUEST_LOCKS),
      });
      try {
        const noted = arrivals.find({ id });
        if (noted !== undefined && noted !== "damaged") await wait(noted, settlement, logger);
      } finally {
        await logger.close();
      }
    });
}

async function wait(noted: NotedArrival, settlement: Settlement, logger: Logger): Promise<void> {
  const guest = noted.guest.name;
  let failures = 0;
  for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE)) {
    try {
      const settled = await settlement.settle(noted);
      if (settled === "put-right") logger.info("settle done", { guest });
      if (settled !== "arriving") return;
      failures = 0;
    } catch (thrown) {
      // libvirtd restarts, or somebody else works on the guest
      if (++failures === PATIENCE) {
        const error = asLuksmithError(thrown);
        logger.error("settle failed; luksmith reap tries again", { guest, error });
        process.exitCode = error.exitCode;
        return;
      }
    }
    await setTimeout(pause);
  }
}
