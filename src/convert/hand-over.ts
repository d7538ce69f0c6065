import { asLuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest, DiskAnnotation, HostAdapter } from "../host/host-adapter.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import { volumeName } from "../storage/volume.js";
import { undecided } from "./convert-errors.js";
import { type Counted, isUntouched, stampOf, startedMeanwhile } from "./guest-meanwhile.js";
import type { ConvertPlan } from "./plan-convert.js";

interface HandOverPorts {
  readonly host: HostAdapter;
  readonly guestLocks: Pick<GuestLocks, "watch">;
}

/**
 * One change of the guest's configuration: the disk is the new volume. The gate of starts cannot be held meanwhile:
 * while a start's hook waits at it, libvirtd answers nobody, and makes the change when the guest runs on its old volume.
 * So a look afterwards tells of a start that began before, and the disk gets its old volume back, unless it was the new
 * one that the guest has run on: what it has written there is nowhere else.
 * @param guest as it is configured, without a start since `counted.since`
 * @throws GUEST_CHANGED if the disk has its old volume; CONVERT_FAILED where nothing tells which one the guest has run
 *   on: neither is taken away, and the disk has the new one
 */
export async function handOver(
  plan: ConvertPlan,
  guest: ConfiguredGuest,
  counted: Counted,
  ports: HandOverPorts,
): Promise<void> {
  const written = { ...counted, target: await stampOf(plan.target.volume) };
  try {
    await giveNew(plan, guest, ports.host);
  } catch (thrown) {
    // what was not answered may be done all the same
    await requireNotStarted(plan, written, ports);
    throw thrown;
  }
  await requireNotStarted(plan, written, ports);
}

async function giveNew(
  { disk, key, source, target }: ConvertPlan,
  guest: ConfiguredGuest,
  host: HostAdapter,
): Promise<void> {
  if (key !== undefined) {
    const old = source.key && new Map([[disk, source.key.annotation]]);
    await host.annotate(guest, new Map([[disk, key.annotation]]), old);
  } else if (source.key !== undefined && host.nameVolume !== undefined) {
    await host.nameVolume(guest, disk, source.key.annotation, target.volume);
  } else {
    throw new Error(`nothing makes disk ${disk} a plain one`);
  }
}

/** As it was before the guest could have the new volume. */
interface Written extends Counted {
  /** Of the new volume since it was compared. */
  readonly target: string | undefined;
}

/**
 * A start is announced before its guest opens anything; one that has not come so far yet makes the guest a running one.
 * @throws GUEST_CHANGED, CONVERT_FAILED
 */
async function requireNotStarted(
  plan: ConvertPlan,
  { since, stamp, target: compared }: Written,
  { host, guestLocks }: HandOverPorts,
): Promise<void> {
  const { disk, target } = plan;
  const now = await host.readGuest(plan.guest.id);
  if (!now.running && (await guestLocks.watch(now)) === since) return;
  const isNew = ({ disks }: Pick<ConfiguredGuest, "disks">) => {
    const volume = disks.mapping[disk]?.volume;
    return volume !== undefined && volumeName(volume) === volumeName(target.volume);
  };
  // it was started after the change
  if (now.running && isNew(await host.readRunningGuest(now))) return;
  if (isNew(now)) {
    const isUnwritten = compared !== undefined && compared === (await stampOf(target.volume));
    if (!now.running && !isUnwritten) {
      if (await isUntouched(plan.source, stamp)) return;
      throw undecided(plan);
    }
    await giveBack(plan, now, host);
  }
  throw startedMeanwhile(now, disk);
}

async function giveBack(
  { disk, key, source }: ConvertPlan,
  guest: ConfiguredGuest,
  host: HostAdapter,
): Promise<void> {
  const { volume } = source;
  try {
    if (source.key !== undefined) {
      const old: DiskAnnotation = { ...source.key.annotation, volume };
      await host.annotate(guest, new Map([[disk, old]]), key && new Map([[disk, key.annotation]]));
    } else if (key !== undefined && host.nameVolume !== undefined) {
      await host.nameVolume(guest, disk, key.annotation, volume);
    }
  } catch (thrown) {
    const task = `disk ${disk} of guest ${guest.name} must be ${volume.path} again, which the guest was started on, and its configuration names the new volume: put it back before the guest is started again`;
    throw asLuksmithError(thrown).within(task);
  }
}
