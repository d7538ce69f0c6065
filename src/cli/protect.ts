import { Command, Option } from "commander";
import type { Container } from "../di.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { guestWord } from "../plan/commands.js";
import { execute } from "../plan/execute.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { gatherProtectFacts } from "../plan/gather-protect.js";
import { KeySession } from "../plan/key-session.js";
import { StepPerformer } from "../plan/perform.js";
import { planProtect } from "../plan/plan-protect.js";
import { renderStep } from "../plan/render.js";
import type { Plan } from "../plan/step.js";
import type { EncryptionRequest } from "../request/ask.js";
import { holdsGuestData } from "../request/guest-data.js";
import { resolveRequests } from "../request/resolve.js";
import { CLOCK, LOGGER, SETTINGS, STORAGE } from "../tokens.js";
import { changeGuest, resourcesOf } from "./change.js";
import { requireDisk } from "./guest-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly disk?: readonly string[];
  readonly profile?: string;
  readonly engine?: EngineChoice;
  readonly now?: true;
  readonly dryRun?: true;
}

export function protectCommand(): Command {
  return new Command("protect")
    .summary("encrypt a guest's new disks")
    .description(
      "Makes a key for each disk and writes encryption blocks into the guest's configuration. The disks must be " +
        "empty. The guest's next start formats them, or --now does.",
    )
    .argument("<guest>", "name or UUID; it must be shut off")
    .option("--disk <device>", "only this disk; may be repeated", (dev, devs?: string[]) => [
      ...(devs ?? []),
      dev,
    ])
    .option("--profile <name>", "profile in the settings")
    .addOption(
      new Option("--engine <engine>", "who decrypts; the settings' encryption.engine without it").choices([
        "auto",
        "native",
        "dm-crypt",
      ] satisfies EngineChoice[]),
    )
    .option("--now", "format the disks at once")
    .option("--dry-run", "say what would be done, change nothing")
    .action(protect);
}

async function protect(name: string, options: Options): Promise<void> {
  const container = open();
  await changeGuest(container, {
    command: "protect",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    work: (nameOrId) => protectGuest(container, nameOrId, options),
  });
}

async function protectGuest(container: Container, nameOrId: string, options: Options): Promise<Plan> {
  const resources = resourcesOf(container);
  const guest = await resources.host.readGuest(nameOrId);
  const requests = await requestsFor(guest, options, container);
  using session = new KeySession();
  const settings = container.resolve(SETTINGS);
  const choice = options.engine ?? settings.encryption.engine;
  const facts = await gatherProtectFacts(guest, requests, choice, resources, session);
  const plan = planProtect(guest, facts, {
    format: options.now ? "now" : "at-next-start",
    now: container.resolve(CLOCK).now(),
    newUuid: newKeyUuid,
  });
  const disks = requests.map(({ disk }) => disk).join(", ");
  if (plan.stages.length === 0) {
    print(`${guest.name}: ${disks} already protected`);
    return plan;
  }
  requireShutOff(guest);
  if (options.dryRun) {
    plan.stages.flat().forEach((step) => print(`would ${renderStep(step)}`));
  } else {
    const performer = new StepPerformer(guest, resources, session);
    await execute(plan, performer, container.resolve(LOGGER), (step) => print(`done: ${renderStep(step)}`));
    print(`${guest.name}: ${disks} protected${ending(plan, options)}`);
  }
  return plan;
}

/** What is left to happen. */
function ending({ stages }: Plan, { now }: Options): string {
  const steps = stages.flat();
  const kinds = new Set(steps.map((step) => step.kind));
  if (kinds.has("format")) return "";
  if (steps.some((step) => step.kind === "annotate" && step.replaced !== undefined))
    return "; who decrypts was changed, and no byte of the disks";
  if (!kinds.has("store-key")) return "; its encryption blocks were put back";
  return now ? "" : "; its next start formats what is new";
}

/** What a guest that was saved has in its memory may be newer than what is on its disks. */
function requireShutOff(guest: ConfiguredGuest): void {
  if (!guest.running && !guest.saved) return;
  const name = guestWord(guest);
  throw new LuksmithError("GUEST_RUNNING", {
    what: `cannot protect guest ${guest.name}: it ${guest.running ? "is running" : "was saved while it was running"}`,
    why: guest.running
      ? "it could write to a disk that was found empty"
      : "it would resume with the definition that was saved, which has no encryption blocks",
    hint: guest.running
      ? `shut it down first: virsh shutdown ${name}`
      : `start it and shut it down first: virsh start ${name}`,
  });
}

/**
 * The command speaks as one more voice, so that it cannot overrule a rule or an image silently. Where the legacy settings
 * alone speak, which give way to every other voice, it is silent unless it names a profile.
 */
async function requestsFor(
  guest: Guest,
  { disk: chosen = [], profile }: Options,
  container: Container,
): Promise<EncryptionRequest[]> {
  const settings = container.resolve(SETTINGS);
  const storage = container.resolve(STORAGE);
  const disks =
    chosen.length > 0 ? [...new Set(chosen)].map((dev) => requireDisk(guest, dev).dev) : everyDisk(guest);
  const without =
    profile === undefined
      ? await withFittingLegacy(guest, resolveRequests(guest, settings), storage)
      : new Map<string, never>();
  const ask = {
    source: "luksmith protect",
    enabled: true,
    disks: disks.filter((dev) => without.get(dev)?.format !== "plain"),
    ...(profile === undefined ? {} : { profile }),
  };
  const requests = resolveRequests({ ...guest, asks: [...guest.asks, ask] }, settings);
  return disks.flatMap((dev) => requests.get(dev) ?? []);
}

function everyDisk(guest: Guest): string[] {
  const disks = Object.values(guest.disks.mapping).filter(holdsGuestData);
  if (disks.length > 0) return disks.map(({ dev }) => dev);
  throw new LuksmithError("DISK_NOT_FOUND", {
    what: `guest ${guest.name} has no disk that could be encrypted`,
  });
}
