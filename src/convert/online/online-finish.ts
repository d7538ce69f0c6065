import type { AuditLog } from "../../audit/audit-log.js";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { keepMade } from "../../headers/keep-made.js";
import type { DiskMirror } from "../../host/disk-mirror.js";
import type { ConfiguredGuest, HostAdapter } from "../../host/host-adapter.js";
import type { KeySession } from "../../plan/key-session.js";
import { type Resources, StepPerformer } from "../../plan/perform.js";
import { volumeName } from "../../storage/volume.js";
import { patiently } from "./mirror-watch.js";
import type { OnlinePlan } from "./plan-online.js";

interface FinishPorts {
  readonly mirror: DiskMirror;
  readonly resources: Resources;
  readonly session: KeySession;
}

/**
 * What is left to do for a guest that runs on its new volume, or has stopped right after it got it. Idempotent.
 * @throws GUEST_CHANGED if its next start would take another volume than the one that it runs on
 */
export async function finishOnline(plan: OnlinePlan, ports: FinishPorts): Promise<void> {
  const { mirror, resources } = ports;
  await patiently(() => mirror.wake(plan.guest));
  const { running } = await requireConfigured(plan, resources.host);
  const performer = new StepPerformer(plan.guest, resources, ports.session);
  const { activate, provide } = plan.steps;
  try {
    if (activate !== undefined) await performer.perform(activate);
    await keepHeader(plan, resources);
    // a libvirtd that was restarted meanwhile has forgotten it
    if (provide !== undefined && running) await patiently(() => performer.perform(provide));
    await withdrawOld(plan, resources.host, running);
    await recordOnline(plan, resources.audit, "done");
  } catch (thrown) {
    throw asLuksmithError(thrown).within(
      `disk ${plan.disk} is converted; the guest's next start, or running this again, does what is left`,
    );
  }
}

/** The begin before the guest has the new volume: a kill right after that must not hide what was done. */
export async function recordOnline(
  { guest, disk, mirror, oldUuid, facts, from }: OnlinePlan,
  audit: AuditLog,
  what: "begins" | "done",
): Promise<void> {
  const key = mirror.secretUuid ?? oldUuid;
  if (key === undefined) return;
  const detail = [
    ...(what === "begins" ? [what] : []),
    ...(from === "given" || facts.live === undefined ? [] : [`from ${volumeName(facts.live.volume)}`]),
    ...(mirror.secretUuid === undefined ? ["not encrypted any more"] : []),
    "while the guest runs",
  ];
  await audit.record({
    ...{ event: "convert", result: "done", key },
    ...{ guest: { id: guest.id, name: guest.name }, disk, volume: volumeName(mirror.volume) },
    detail: detail.join(", "),
  });
}

async function requireConfigured(
  { guest, disk, mirror }: OnlinePlan,
  host: HostAdapter,
): Promise<ConfiguredGuest> {
  const now = await patiently(() => host.readGuest(guest.id));
  const configured = now.disks.mapping[disk];
  const isRight =
    configured !== undefined &&
    volumeName(configured.volume) === volumeName(mirror.volume) &&
    configured.encryption_secret_uuid === mirror.secretUuid;
  if (isRight) return now;
  throw new LuksmithError("GUEST_CHANGED", {
    what: `disk ${disk} of running guest ${guest.name} is ${volumeName(mirror.volume)}, but its configuration has another volume`,
    why: "somebody changed the configuration in the moment in which libvirt gave it the new volume",
    hint: "do not shut the guest down before virsh edit names the new volume there: all that it writes is on that",
  });
}

/** Whoever formatted it may have been killed before that. */
async function keepHeader({ facts, mirror }: OnlinePlan, { headers, logger }: Resources): Promise<void> {
  if (mirror.secretUuid === undefined) return;
  const made = { backend: facts.backend, volume: mirror.volume, uuid: mirror.secretUuid };
  await keepMade(made, headers, (message, error) => {
    logger.warn(message, { error });
  });
}

async function withdrawOld(
  { guest, oldUuid }: OnlinePlan,
  host: HostAdapter,
  running: boolean,
): Promise<void> {
  if (oldUuid === undefined) return;
  if (running) {
    const { disks } = await host.readRunningGuest(guest);
    const isOpen = Object.values(disks.mapping).some(
      ({ encryption_secret_uuid: own, backingSecretUuids: bases = [] }) =>
        own === oldUuid || bases.some((base) => base === oldUuid),
    );
    if (isOpen) return;
  }
  await host.withdrawSecrets(guest, [oldUuid]);
}
