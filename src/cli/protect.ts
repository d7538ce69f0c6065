import { Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { Guest } from "../host/host-adapter.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { execute } from "../plan/execute.js";
import { gatherProtectFacts } from "../plan/gather-protect.js";
import { KeySession } from "../plan/key-session.js";
import { StepPerformer } from "../plan/perform.js";
import { planProtect } from "../plan/plan-protect.js";
import { renderStep } from "../plan/render.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { CLOCK, HOST, KEYRING, LOGGER, PROVIDER, SETTINGS, STORAGE } from "../tokens.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly disk: readonly string[];
  readonly profile?: string;
  readonly now?: true;
  readonly dryRun?: true;
}

export function protectCommand(): Command {
  return new Command("protect")
    .summary("encrypt a guest's new disks")
    .description(
      "Makes a key for each disk and writes encryption blocks into the guest's configuration. The disks must be " +
        "empty: the guest's next start formats them, and nothing else ever does.",
    )
    .argument("<guest>", "name or UUID; it must be shut off")
    .option("--disk <device>", "only this disk; may be repeated", (dev, devs: string[]) => [...devs, dev], [])
    .option("--profile <name>", "profile in the settings")
    .option("--now", "format the disks at once")
    .option("--dry-run", "say what would be done, change nothing")
    .action(protect);
}

async function protect(name: string, options: Options): Promise<void> {
  const container = open();
  const host = container.resolve(HOST);
  const resources = {
    host,
    keyring: container.resolve(KEYRING),
    storage: container.resolve(STORAGE),
    provider: container.resolve(PROVIDER),
  };
  const guest = await host.readGuest(name);
  requireShutOff(guest);
  const requests = requestsFor(guest, options, container.resolve(SETTINGS));
  using session = new KeySession();
  const facts = await gatherProtectFacts(guest, requests, resources, session);
  const plan = planProtect(guest, facts, {
    format: options.now ? "now" : "at-next-start",
    now: container.resolve(CLOCK).now(),
    newUuid: newKeyUuid,
  });
  const disks = requests.map(({ disk }) => disk).join(", ");
  if (plan.stages.length === 0) return print(`${guest.name}: ${disks} already protected`);
  if (options.dryRun) return plan.stages.flat().forEach((step) => print(`would ${renderStep(step)}`));
  const performer = new StepPerformer(guest, resources, session);
  const logger = container.resolve(LOGGER);
  try {
    await execute(plan, performer, logger, (step) => print(`done: ${renderStep(step)}`));
    logger.info("protect done", { guest: guest.name });
  } finally {
    await logger.close();
  }
  print(`${guest.name}: ${disks} protected${options.now ? "" : "; its next start formats what is new"}`);
}

function requireShutOff(guest: Guest & { readonly running: boolean }): void {
  if (!guest.running) return;
  throw new LuksmithError("GUEST_RUNNING", {
    what: `cannot protect guest ${guest.name}: it is running`,
    why: "it could write to a disk that was found empty",
    hint: `shut it down first: virsh shutdown ${shellWord(guest.name)}`,
  });
}

/** The command speaks as one more voice, so that it cannot overrule a rule or an image silently. */
function requestsFor(guest: Guest, { disk: chosen, profile }: Options, settings: EffectiveSettings): EncryptionRequest[] {
  const disks = chosen.length > 0 ? chosen.map((dev) => requireDisk(guest, dev)) : everyDisk(guest);
  const ask = { source: "luksmith protect", enabled: true, disks, ...(profile === undefined ? {} : { profile }) };
  const requests = resolveRequests({ ...guest, asks: [...guest.asks, ask] }, settings);
  return disks.flatMap((dev) => requests.get(dev) ?? []);
}

function everyDisk(guest: Guest): string[] {
  const disks = Object.values(guest.disks.mapping).filter(({ type, readOnly }) => type === "disk" && !readOnly);
  if (disks.length > 0) return disks.map(({ dev }) => dev);
  throw new LuksmithError("DISK_NOT_FOUND", { what: `guest ${guest.name} has no disk that could be encrypted` });
}

function requireDisk(guest: Guest, dev: string): string {
  if (guest.disks.mapping[dev] !== undefined) return dev;
  const known = Object.keys(guest.disks.mapping).join(", ");
  throw new LuksmithError("DISK_NOT_FOUND", {
    what: `guest ${guest.name} has no disk ${dev}`,
    hint: known === "" ? "it has no disks" : `it has ${known}`,
  });
}
