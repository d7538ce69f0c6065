import { Command, Option } from "commander";
import type { Container } from "../di.js";
import type { DiskBus } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { askedOnce } from "../encryption/versions.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { execute } from "../plan/execute.js";
import { refuseForbiddenFormats } from "../plan/format-permission.js";
import { type AttachFacts, withDisks } from "../plan/gather-attach.js";
import { refuseUnableFormats, refuseUnableMapping } from "../plan/host-ability.js";
import { copiesIn, refuseFormerCopies, warnOfCopy } from "../plan/key-copies.js";
import { KeySession } from "../plan/key-session.js";
import { type Resources, StepPerformer } from "../plan/perform.js";
import { warnOfPlain } from "../plan/plain-warning.js";
import { planAttach } from "../plan/plan-attach.js";
import { refuseMappedElsewhere } from "../plan/refuse-mapped.js";
import { renderStep } from "../plan/render.js";
import type { Plan } from "../plan/step.js";
import { CLOCK, LOGGER, SETTINGS } from "../tokens.js";
import { changeGuest } from "./change.js";
import { resourcesOf } from "../plan/resources.js";
import { newDisk } from "./new-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { refuseSaved } from "./refuse-saved.js";
import { attachFacts, type AttachOptions, type AttachTask } from "./attach-facts.js";

export function attachCommand(): Command {
  return new Command("attach")
    .summary("give a guest an encrypted disk, also while it runs")
    .description(
      "Gives a running guest a disk of its configuration, or a new one: with VOLUME, the disk is added to the " +
        "configuration, and encrypted. The volume must be empty, or be encrypted under a key of ours. A guest that is " +
        "shut off has the disk from its next start on.",
    )
    .argument("<guest>", "name or UUID")
    .argument("<disk>", "device name, for example vdb")
    .argument("[volume]", "absolute path, or rbd:POOL/IMAGE, rbd:POOL/NAMESPACE/IMAGE")
    .addOption(
      new Option("--format <format>", "image format of a file; raw without it").choices(["raw", "qcow2"]),
    )
    .addOption(
      new Option("--bus <bus>", "without it, as the device name says").choices([
        "virtio",
        "scsi",
        "sata",
        "usb",
        "ide",
      ] satisfies DiskBus[]),
    )
    .option("--profile <name>", "profile in the settings, for a volume that is new")
    .addOption(
      new Option("--engine <engine>", "who decrypts; the settings' encryption.engine without it").choices([
        "auto",
        "native",
        "dm-crypt",
      ] satisfies EngineChoice[]),
    )
    .option("--dry-run", "say what would be done, change nothing")
    .action(attach);
}

async function attach(
  name: string,
  dev: string,
  volume: string | undefined,
  options: AttachOptions,
): Promise<void> {
  const wanted = newDisk(dev, volume, options);
  const container = open();
  await changeGuest(container, {
    command: "attach",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    work: (nameOrId) => attachDisk(container, { nameOrId, dev, wanted, options }),
  });
}

export async function attachDisk(container: Container, task: AttachTask): Promise<Plan> {
  const resources = resourcesOf(container);
  const guest = await resources.host.readGuest(task.nameOrId);
  refuseSaved(guest, "attach a disk to it", "without the disk");
  using session = new KeySession();
  const { facts, plan } = await planned(container, guest, task, resources, session).catch(
    (thrown: unknown) => {
      throw asAttach(guest, thrown);
    },
  );
  if (task.options.dryRun) {
    plan.stages.flat().forEach((step) => print(`would ${renderStep(step)}`));
  } else {
    const logger = container.resolve(LOGGER);
    if (facts.kind === "configured")
      for (const copy of copiesIn([facts.fact])) warnOfCopy(guest, copy, logger);
    warnOfPlain(guest, plan, logger);
    const performer = new StepPerformer(guest, resources, session);
    await execute(plan, performer, logger, (step) => print(`done: ${renderStep(step)}`)).catch(
      (thrown: unknown) => {
        throw facts.kind === "configured" ? orRestart(thrown) : thrown;
      },
    );
  }
  if (!task.options.dryRun || plan.stages.length === 0)
    print(`${guest.name}: ${task.dev} ${outcome(facts, plan)}`);
  return plan;
}

function outcome({ state, live }: AttachFacts, { stages }: Plan): string {
  if (state === "stopped") return "is ready: the guest is shut off, and has it from its next start on";
  if (stages.length === 0) return "is attached already";
  return live === "same" ? "was attached already, and is in its configuration now" : "attached";
}

interface Planned {
  readonly facts: AttachFacts;
  readonly plan: Plan;
}

async function planned(
  container: Container,
  guest: ConfiguredGuest,
  task: AttachTask,
  resources: Resources,
  session: KeySession,
): Promise<Planned> {
  const { host, storage, providers, mappings } = resources;
  const settings = container.resolve(SETTINGS);
  const running = guest.running ? await host.readRunningGuest(guest) : undefined;
  const facts = await attachFacts(container, { persistent: guest, running }, task, resources, session);
  const { disk, uuid } = facts;
  if (facts.kind === "configured") await refuseFormerCopies(guest, [facts.fact], storage, session);
  await refuseMappedElsewhere(
    withDisks(guest, [{ ...disk, ...(uuid && { encryption_secret_uuid: uuid }) }]),
    mappings.claims(),
  );
  const plan = planAttach(guest, facts, { now: container.resolve(CLOCK).now(), newUuid: newKeyUuid });
  const { legacy, encryption } = settings;
  const ability = {
    providers,
    versions: askedOnce(() => host.versions()),
    legacy,
    engine: encryption.engine,
  };
  await refuseForbiddenFormats(guest, plan, storage);
  await refuseUnableMapping(guest, disk, ability);
  await refuseUnableFormats(guest, plan, ability);
  return { facts, plan };
}

/** A disk that was new is taken out of the configuration again, and a restart would not bring it. */
function orRestart(thrown: unknown): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "DISK_ATTACH_FAILED") return thrown;
  const { code, message, why, hint } = thrown;
  return new LuksmithError(code, {
    ...{ what: message, ...(why !== undefined && { why }) },
    hint: `${hint ?? "run the command again"}, or restart the guest: its configuration has the disk`,
    cause: thrown,
  });
}

/** What is asked and planned as for a start speaks of one. */
function asAttach({ name }: ConfiguredGuest, thrown: unknown): unknown {
  const start = `cannot start guest ${name}`;
  if (!(thrown instanceof LuksmithError) || !thrown.message.startsWith(start)) return thrown;
  return new LuksmithError(thrown.code, {
    what: `cannot attach a disk to guest ${name}${thrown.message.slice(start.length)}`,
    ...(thrown.why === undefined ? {} : { why: thrown.why }),
    ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    cause: thrown,
  });
}
