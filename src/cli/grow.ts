import { Argument, Command, InvalidArgumentError } from "commander";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { formatBytes, parseBytes } from "../plan/bytes.js";
import { guestWord } from "../plan/commands.js";
import { execute } from "../plan/execute.js";
import { diskSizes, gatherGrowFacts } from "../plan/gather-grow.js";
import { KeySession } from "../plan/key-session.js";
import { StepPerformer } from "../plan/perform.js";
import { planGrow, type WantedSize } from "../plan/plan-grow.js";
import { renderStep } from "../plan/render.js";
import type { GuestState, Plan } from "../plan/step.js";
import { LOGGER } from "../tokens.js";
import { changeGuest } from "./change.js";
import { resourcesOf } from "../plan/resources.js";
import { requireDisk } from "./guest-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly dryRun?: true;
}

export function growCommand(): Command {
  return new Command("grow")
    .summary("enlarge an encrypted disk")
    .description(
      "Enlarges a disk, whether its guest runs or not: its volume first, where that is not for its administrator " +
        "alone, and then what its guest sees of it.",
    )
    .argument("<guest>", "name or UUID")
    .argument("<disk>", "device name, for example vda")
    .addArgument(
      new Argument(
        "[size]",
        "bytes that the guest shall see, or with a unit: 40G; +10G for more than now; all that its volume has without it",
      ).argParser(parseSize),
    )
    .option("--dry-run", "say what would be done, change nothing")
    .action(async (name: string, dev: string, size: WantedSize | undefined, { dryRun }: Options) => {
      const container = open();
      const manner = dryRun ? "dry-run" : "apply";
      const wanted = size ?? { kind: "all" };
      await changeGuest(container, {
        command: "grow",
        guest: name,
        manner,
        work: (nameOrId) => growDisk(container, { nameOrId, dev, wanted, manner }),
      });
    });
}

function parseSize(text: string): WantedSize {
  const isMore = text.startsWith("+");
  const bytes = parseBytes(isMore ? text.slice(1) : text);
  if (bytes !== undefined) return { kind: isMore ? "more" : "total", bytes };
  throw new InvalidArgumentError(
    "It must be a number of bytes, or one with K, M, G or T (of 1024): 40G, +10G.",
  );
}

interface Task {
  readonly nameOrId: string;
  readonly dev: string;
  readonly wanted: WantedSize;
  readonly manner: "apply" | "dry-run";
}

async function growDisk(container: Container, { nameOrId, dev, wanted, manner }: Task): Promise<Plan> {
  const resources = resourcesOf(container);
  const configured = await resources.host.readGuest(nameOrId);
  refuseSaved(configured);
  const state: GuestState = configured.running ? "running" : "stopped";
  const guest = configured.running ? await resources.host.readRunningGuest(configured) : configured;
  const disk = requireDisk(guest, dev);
  using session = new KeySession();
  const facts = await gatherGrowFacts(guest, disk, state, resources, session);
  const plan = planGrow(guest, facts, wanted);
  const before = formatBytes(facts.sizes?.guest ?? 0);
  if (plan.stages.length === 0) {
    print(`${guest.name}: ${dev} has ${before} already`);
  } else if (manner === "dry-run") {
    plan.stages.flat().forEach((step) => print(`would ${renderStep(step)}`));
  } else {
    await execute(plan, new StepPerformer(guest, resources, session), container.resolve(LOGGER));
    const after = await diskSizes(guest, facts.disk, state, resources);
    print(`${guest.name}: ${dev} has grown from ${before} to ${formatBytes(after?.guest ?? 0)}`);
  }
  return plan;
}

/** Its memory, which its next start brings back, knows the disk at its old size. */
function refuseSaved(guest: ConfiguredGuest): void {
  if (!guest.saved) return;
  throw new LuksmithError("GUEST_RUNNING", {
    what: `cannot grow a disk of guest ${guest.name}: it was saved while it was running`,
    why: "it would resume with the disk's old size in its memory",
    hint: `start it first, then grow the disk while it runs: virsh start ${guestWord(guest)}`,
  });
}
