import { availableParallelism } from "node:os";
import { type EncryptedDisk, encryptedDisks } from "../disk-info/encrypted-disks.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { GuestPreparation } from "../event/guest-preparation.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { KeyslotPorts } from "../headers/keyslot-ports.js";
import type { ConfiguredGuest, Guest, HostAdapter } from "../host/host-adapter.js";
import type { KeyLocks } from "../keystore/key-locks.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { eachBounded } from "../keystore/transfer/each-bounded.js";
import type { Logger } from "../log/logger.js";
import type { AnnotatedDisk } from "../plan/facts.js";
import { gatherFacts } from "../plan/gather.js";
import { KeySession } from "../plan/key-session.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { KeyRotation, type Rotated } from "./key-rotation.js";
import type { KeyUses } from "./key-uses.js";
import { isOpenElsewhere, isSeenByOthers, whyUnseen } from "./open-elsewhere.js";
import { passedOver } from "./passed-over.js";
import { requireRotatable } from "./rotatable.js";
import { provideAnew, unsteadiness } from "./steadiness.js";

/** Disks that are worked on side by side: a processor each, and some that wait for storage and keystore meanwhile. */
const AT_ONCE = 2 * availableParallelism() + 2;

export interface RotationResources extends KeyslotPorts {
  readonly host: HostAdapter;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  readonly preparation: Pick<GuestPreparation, "reconnect">;
  /** Two guests may have one volume. */
  readonly locks: Pick<KeyLocks, "hold">;
  readonly uses: () => Promise<KeyUses>;
  /** For tests. */
  readonly isSeenByOthers?: (volume: Volume) => Promise<boolean>;
}

export interface DiskResult {
  readonly guest: Pick<Guest, "id" | "name">;
  readonly disk: string;
  readonly uuid: KeyUuid;
  readonly volume: string;
  readonly result:
    | { readonly kind: Rotated }
    /** A dry run. */
    | { readonly kind: "would-rotate"; readonly record: KeyRecord }
    /** Its passphrase is not old enough. */
    | { readonly kind: "recent"; readonly record: KeyRecord }
    /** Nobody has asked for it by name, and it cannot be rotated now, or not at all. */
    | { readonly kind: "skipped"; readonly why: string }
    | { readonly kind: "failed"; readonly error: LuksmithError };
}

export interface RotationWish {
  /** Device names; all disks with a key of ours without it. */
  readonly disks?: readonly string[];
  /** Whether a passphrase is old enough; all without it. */
  readonly isDue?: (record: KeyRecord) => boolean;
  readonly manner: "apply" | "dry-run";
  /** Nobody has named the guest: what speaks against one of its disks is no failure. */
  readonly scope?: "all";
}

/**
 * Gives disks of one guest new passphrases; one that fails keeps none of the others from theirs. Whoever calls holds
 * the guest's lock, unless it is a dry run.
 * @throws what speaks against all of its disks: ROTATION_REFUSED; DISK_NOT_FOUND, and what keeps the guest from being read
 */
export async function rotateGuest(
  nameOrId: string,
  wish: RotationWish,
  resources: RotationResources,
): Promise<DiskResult[]> {
  const { host } = resources;
  const configured = await host.readGuest(nameOrId);
  const guest = configured.running ? merged(configured, await host.readRunningGuest(configured)) : configured;
  const disks = encryptedDisks(guest, { wanted: wish.disks });
  if (disks.length === 0) return [];
  const unsteady = await unsteadiness(configured, host);
  if (unsteady !== undefined && wish.scope !== "all")
    throw unsteady.within(`cannot rotate the keys of guest ${configured.name}`);
  const results: DiskResult[] = [];
  await eachBounded(disks, AT_ONCE, async (disk) => {
    results.push(await rotateDisk({ guest, disk, unsteady }, wish, resources));
  });
  const order = disks.map(({ dev }) => dev);
  return results.toSorted((a, b) => order.indexOf(a.disk) - order.indexOf(b.disk));
}

/** Disks that the guest runs with hold; those that it would have at its next start, too. */
function merged(configured: ConfiguredGuest, running: Guest): Guest {
  const mapping = { ...configured.disks.mapping, ...running.disks.mapping };
  return { ...running, disks: { ...running.disks, mapping } };
}

interface DiskOfGuest {
  readonly guest: Guest;
  readonly disk: EncryptedDisk;
  /** What speaks against any rotation of the guest now. */
  readonly unsteady: LuksmithError | undefined;
}

async function rotateDisk(
  one: DiskOfGuest,
  wish: RotationWish,
  resources: RotationResources,
): Promise<DiskResult> {
  const { guest, disk } = one;
  const uuid = disk.encryption_secret_uuid;
  const { id, name } = guest;
  const about = { guest: { id, name }, disk: disk.dev, uuid, volume: volumeName(disk.volume) };
  const progress = { isBegun: false };
  const work = async () => {
    progress.isBegun = true;
    return await rotateKey(one, wish, resources);
  };
  try {
    const result = wish.manner === "dry-run" ? await work() : await resources.locks.hold(uuid, work);
    return { ...about, result };
  } catch (thrown) {
    // a conversion has the key for hours
    if (wish.scope === "all" && !progress.isBegun && asLuksmithError(thrown).code === "LOCK_TIMEOUT")
      return { ...about, result: skipped(asLuksmithError(thrown)) };
    const error = asLuksmithError(thrown).within(`cannot rotate disk ${disk.dev} of guest ${name}`);
    if (wish.manner === "apply") await recordFailure(about, error, resources);
    return { ...about, result: { kind: "failed", error } };
  }
}

async function rotateKey(
  { guest, disk, unsteady }: DiskOfGuest,
  wish: RotationWish,
  resources: RotationResources,
): Promise<DiskResult["result"]> {
  const uuid = disk.encryption_secret_uuid;
  const fact = await gather(guest, disk, resources);
  const early = passedOver(fact.key, wish);
  if (early !== undefined) return early;
  if (unsteady !== undefined) return skipped(unsteady);
  const { keystore, record } = await requireRotatable(guest, fact, resources);
  const uses = await resources.uses();
  await uses.requireOneVolume(uuid, disk);
  const elsewhere = uses.isOpenHere(uuid) ? undefined : await openElsewhere(disk.volume, resources);
  if (elsewhere !== undefined && wish.scope === "all") return skipped(elsewhere);
  if (elsewhere !== undefined) throw elsewhere;
  const { volume, dev } = disk;
  const backend = await resources.storage.backendFor(volume);
  // a guest of another host would keep the former passphrase, which opens nothing in the end
  const unseen = uses.isOpenHere(uuid) ? undefined : await whyUnseen(volume, backend, resources.runner);
  if (unseen !== undefined && wish.scope === "all") return { kind: "skipped", why: unseen };
  if (unseen !== undefined) {
    const what = `nobody can tell whether the disk is open elsewhere: ${unseen}`;
    resources.logger.warn(what, { guest: guest.name, disk: dev });
  }
  if (wish.manner === "dry-run") return { kind: "would-rotate", record };
  const target = { guest: { id: guest.id, name: guest.name }, disk: dev, volume, backend, uuid, keystore };
  const users = uses.guestsWith(uuid);
  const rotation = new KeyRotation(target, resources, () => provideAnew(uuid, users, resources));
  return { kind: await rotation.rotate() };
}

function skipped({ message }: LuksmithError): DiskResult["result"] {
  return { kind: "skipped", why: message };
}

/** The disk's key, and what its volume's header says of it. */
async function gather(
  guest: Guest,
  disk: EncryptedDisk,
  resources: RotationResources,
): Promise<AnnotatedDisk> {
  const alone = { ...guest, disks: { ...guest.disks, mapping: { [disk.dev]: disk } } };
  using session = new KeySession();
  const [fact] = await gatherFacts(alone, new Map(), resources, session);
  if (fact?.kind !== "annotated") throw new Error("a disk with a key has the facts of one");
  return fact;
}

/** ROTATION_REFUSED if another host has it open, whose starts and secrets cannot be seen from here. */
async function openElsewhere(
  volume: Volume,
  { storage, runner, ...resources }: RotationResources,
): Promise<LuksmithError | undefined> {
  if (!(await (resources.isSeenByOthers ?? isSeenByOthers)(volume))) return undefined;
  if (!(await isOpenElsewhere(volume, await storage.backendFor(volume), runner))) return undefined;
  return new LuksmithError("ROTATION_REFUSED", {
    what: "somebody has its volume open, and no guest that runs here does",
    why: `${volumeName(volume)} is on storage that other hosts have too`,
    hint: "rotate it on the host where its guest runs",
  });
}

async function recordFailure(
  { guest, disk, uuid: key, volume }: Omit<DiskResult, "result">,
  error: LuksmithError,
  { audit, logger }: RotationResources,
): Promise<void> {
  const { code } = error;
  const result = code === "ROTATION_REFUSED" ? "refused" : "failed";
  try {
    await audit.record({ event: "rotate", guest, disk, volume, key, result, code });
  } catch (thrown) {
    logger.warn("the failure of a rotation could not be recorded", { error: asLuksmithError(thrown) });
  }
}
