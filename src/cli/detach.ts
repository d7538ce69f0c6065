import { Command } from "commander";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { attachCommand } from "../plan/commands.js";
import { execute } from "../plan/execute.js";
import { diskOf } from "../plan/guest-disk.js";
import { KeySession } from "../plan/key-session.js";
import { type Resources, StepPerformer } from "../plan/perform.js";
import { type DetachFacts, type DetachScope, planDetach } from "../plan/plan-detach.js";
import { renderStep } from "../plan/render.js";
import { isSameVolume } from "../plan/same-volume.js";
import type { Plan } from "../plan/step.js";
import { volumeName } from "../storage/volume.js";
import { LOGGER } from "../tokens.js";
import { changeGuest } from "./change.js";
import { resourcesOf } from "../plan/resources.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { refuseSaved } from "./refuse-saved.js";

export interface DetachOptions {
  readonly live?: true;
  readonly dryRun?: true;
}

export function detachCommand(): Command {
  return new Command("detach")
    .summary("take a disk from a guest, also while it runs")
    .description(
      "Takes a disk from a running guest, which must let it go, and then its passphrase or mapping from the host; the " +
        "guest's configuration loses the disk as well. Its volume and its key stay.",
    )
    .argument("<guest>", "name or UUID")
    .argument("<disk>", "device name, for example vdb")
    .option("--live", "from the running guest only: its next start has the disk again")
    .option("--dry-run", "say what would be done, change nothing")
    .action(async (name: string, dev: string, options: DetachOptions) => {
      const container = open();
      await changeGuest(container, {
        command: "detach",
        guest: name,
        manner: options.dryRun ? "dry-run" : "apply",
        work: (nameOrId) => detachDisk(container, nameOrId, dev, options),
      });
    });
}

export async function detachDisk(
  container: Container,
  nameOrId: string,
  dev: string,
  { live, dryRun }: DetachOptions,
): Promise<Plan> {
  const resources = resourcesOf(container);
  const guest = await resources.host.readGuest(nameOrId);
  refuseSaved(guest, "detach a disk from it", "with the disk");
  const facts = await gather(guest, dev, resources);
  const scope: DetachScope = live ? "live" : "everywhere";
  const plan = planDetach(guest, facts, scope);
  if (plan.stages.length === 0) {
    print(`${guest.name}: ${dev} is detached already`);
  } else if (dryRun) {
    plan.stages.flat().forEach((step) => print(`would ${renderStep(step)}`));
  } else {
    using session = new KeySession();
    const performer = new StepPerformer(guest, resources, session);
    await execute(plan, performer, container.resolve(LOGGER), (step) => print(`done: ${renderStep(step)}`));
    print(`${guest.name}: ${dev} detached`);
    for (const line of whatStays(guest, facts, plan)) print(line);
  }
  return plan;
}

async function gather(guest: ConfiguredGuest, dev: string, resources: Resources): Promise<DetachFacts> {
  const { host, mappings } = resources;
  const running = guest.running ? await host.readRunningGuest(guest) : undefined;
  const [live, configured] = [running && diskOf(running, dev), diskOf(guest, dev)];
  return {
    ...{ disk: dev, running, configured },
    configuredIsOther:
      live !== undefined && configured !== undefined && !(await isSameVolume(live, configured)),
    provided: await host.providedSecrets(guest),
    claims: mappings.claims(guest.id),
  };
}

/** The key and the volume, and how the guest gets the disk back. */
function* whatStays(guest: ConfiguredGuest, facts: DetachFacts, plan: Plan): Generator<string> {
  const { disk, running, configured, configuredIsOther } = facts;
  if (configuredIsOther && configured !== undefined)
    yield `its configuration has another disk ${disk}, on ${volumeName(configured.volume)}, which stays there`;
  const isRemoved = plan.stages.flat().some(({ kind }) => kind === "remove-disk");
  // the running configuration may not tell what lies under a mapping
  const known: DiskMapping | undefined = configuredIsOther
    ? undefined
    : (configured ?? (running && diskOf(running, disk)));
  const uuid = known?.encryption_secret_uuid;
  if (known === undefined || uuid === undefined) return;
  const back = attachCommand(guest, disk, isRemoved ? known.volume : undefined);
  yield `key ${uuid} and ${volumeName(known.volume)} stay; to attach it again: ${back}`;
}
