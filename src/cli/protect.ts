import { Command, Option } from "commander";
import type { ConversionGoal } from "../convert/conversion.js";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { conversionCommand, guestWord } from "../plan/commands.js";
import { execute } from "../plan/execute.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { gatherProtectFacts } from "../plan/gather-protect.js";
import { KeySession } from "../plan/key-session.js";
import { StepPerformer } from "../plan/perform.js";
import { planProtect } from "../plan/plan-protect.js";
import type { Plan } from "../plan/step.js";
import type { EncryptionRequest } from "../request/ask.js";
import { holdsGuestData } from "../request/guest-data.js";
import { resolveRequests } from "../request/resolve.js";
import { CLOCK, LOGGER, SETTINGS, STORAGE } from "../tokens.js";
import { changeGuest } from "./change.js";
import { resourcesOf } from "../plan/resources.js";
import { type ConversionOptions, withConversionOptions } from "./conversion-options.js";
import { convertDisks, type DiskGoal } from "./convert-disks.js";
import { tellUnchanged } from "./tell-converted.js";
import { unfinishedOnline } from "./unfinished-online.js";
import { requireDisk } from "./guest-disk.js";
import { open } from "./open.js";
import { protectVoice } from "./tell-protected.js";

interface Options extends ConversionOptions {
  readonly disk?: readonly string[];
  readonly profile?: string;
  readonly engine?: EngineChoice;
  readonly now?: true;
  readonly convert?: true;
}

export function protectCommand(): Command {
  const command = new Command("protect")
    .summary("encrypt a guest's disks")
    .description(
      "Makes a key for each disk and writes encryption blocks into the guest's configuration. The disks must be " +
        "empty: the guest's next start formats them, or --now does. With --convert, disks that hold data are copied " +
        "to encrypted volumes, verified, and given to the guest.",
    )
    .argument("<guest>", "name or UUID")
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
    .option("--convert", "encrypt the data that are on the disks");
  return withConversionOptions(command)
    .option("--dry-run", "say what would be done, change nothing")
    .action(protect);
}

async function protect(name: string, options: Options): Promise<void> {
  requireFittingOptions(options);
  const container = open();
  await changeGuest(container, {
    command: "protect",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    output: options.json ? "json" : "text",
    work: (nameOrId) => protectGuest(container, nameOrId, options),
  });
}

async function protectGuest(container: Container, nameOrId: string, options: Options): Promise<Plan> {
  const resources = resourcesOf(container);
  const guest = await resources.host.readGuest(nameOrId);
  const requests = await requestsFor(guest, options, container);
  if (options.convert) return await convertGuest(container, guest, requests, options);
  using session = new KeySession();
  const settings = container.resolve(SETTINGS);
  const choice = options.engine ?? settings.encryption.engine;
  const facts = await gatherProtectFacts(guest, requests, choice, resources, session);
  for (const { disk, known } of facts)
    if (known?.record.conversion !== undefined)
      throw conversionUnfinished(guest, disk.dev, known.record.conversion.to);
  const plan = planProtect(guest, facts, {
    format: options.now ? "now" : "at-next-start",
    now: container.resolve(CLOCK).now(),
    newUuid: newKeyUuid,
  });
  const disks = requests.map(({ disk }) => disk);
  const voice = protectVoice(guest, disks, options);
  voice.unchanged(plan);
  if (plan.stages.length === 0) return plan;
  requireShutOff(guest);
  if (options.dryRun) plan.stages.flat().forEach(voice.step);
  else {
    const performer = new StepPerformer(guest, resources, session);
    await execute(plan, performer, container.resolve(LOGGER), voice.step);
    voice.finished(plan, leftOf(plan, options));
  }
  return plan;
}

/** @throws USAGE for what says how, where nothing is to be converted */
function requireFittingOptions({ convert, now, to, pool, inPlace, rate }: Options): void {
  const how = [to, pool, inPlace, rate].some((option) => option !== undefined);
  if (how && !convert) {
    throw new LuksmithError("USAGE", {
      what: "--to, --pool, --in-place and --rate say how a disk is converted",
      hint: "say --convert as well",
    });
  }
  if (now && convert)
    throw new LuksmithError("USAGE", { what: "--now is for empty disks, and --convert for others" });
}

/** Those that are LUKS already stay as they are, but for those that are still becoming it. */
async function convertGuest(
  container: Container,
  guest: ConfiguredGuest,
  requests: readonly EncryptionRequest[],
  options: Options,
): Promise<Plan> {
  const engine = options.engine ?? container.resolve(SETTINGS).encryption.engine;
  const left = await unfinishedOnline(container, guest, "encrypted");
  const goals: DiskGoal[] = [];
  for (const request of requests) {
    const disk = requireDisk(guest, request.disk);
    if (isLuks(disk)) {
      const isLeft = left.has(disk.dev) || (await isUnfinished(container, guest, disk, options));
      if (!isLeft) continue;
    } else if (request.format === "plain") throw plainAsked(guest, request);
    goals.push({ disk, goal: { to: "encrypted", request, engine } });
  }
  const already = requests.filter(({ disk: dev }) => goals.every(({ disk }) => disk.dev !== dev));
  const disks = already.map(({ disk }) => requireDisk(guest, disk));
  tellUnchanged(guest, disks, "already protected", options);
  return await convertDisks(container, guest, goals, options);
}

function isLuks({ encryption_format: format, encryption_secret_uuid: uuid }: DiskMapping): boolean {
  return uuid !== undefined && (format === "luks" || format === "luksv2");
}

/** Whether it is LUKS in the guest's configuration alone. @throws CONVERSION_UNFINISHED unless this call goes on */
async function isUnfinished(
  container: Container,
  guest: ConfiguredGuest,
  disk: DiskMapping,
  { inPlace }: Options,
): Promise<boolean> {
  // its start would have been refused
  if (guest.running) return false;
  const { unfinishedInPlace } = await import("../convert/in-place/convert-in-place.js");
  const to = await unfinishedInPlace(container, { guest, disk, to: "encrypted" });
  if (to === undefined || inPlace) return to !== undefined;
  throw conversionUnfinished(guest, disk.dev, to);
}

function conversionUnfinished(guest: ConfiguredGuest, dev: string, to: ConversionGoal["to"]): LuksmithError {
  return new LuksmithError("CONVERSION_UNFINISHED", {
    what: `cannot protect disk ${dev} of guest ${guest.name}: a conversion in place has begun, and has not ended`,
    hint: `let it end first: ${conversionCommand(guest, dev, to)}`,
  });
}

function plainAsked(guest: ConfiguredGuest, { disk, askedBy }: EncryptionRequest): LuksmithError {
  return new LuksmithError("REQUEST_CONFLICT", {
    what: `cannot convert disk ${disk} of guest ${guest.name}: its format is to be plain`,
    why: `asked for by ${askedBy.join(" and ")}`,
    hint: "take that wish away first, or name a profile with --profile",
  });
}

/** What is left to happen. */
function leftOf({ stages }: Plan, { now }: Options): string {
  const steps = stages.flat();
  const kinds = new Set(steps.map((step) => step.kind));
  if (kinds.has("format")) return "";
  if (steps.some((step) => step.kind === "annotate" && step.replaced !== undefined))
    return "who decrypts was changed, and no byte of the disks";
  if (!kinds.has("store-key")) return "its encryption blocks were put back";
  return now ? "" : "its next start formats what is new";
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
  { disk: chosen = [], profile, convert }: Options,
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
    disks: convert ? disks : disks.filter((dev) => without.get(dev)?.format !== "plain"),
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
