import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { volumeName } from "../storage/volume.js";
import { QCOW2_SIGNATURE } from "../storage/signature.js";
import { attachCommand, protectCommand } from "./commands.js";
import type { AnnotatedDisk, PlainDisk } from "./facts.js";
import { type AddedDisk, type AttachFacts, type ConfiguredDisk, withDisk } from "./gather-attach.js";
import { refuseSharedKey } from "./key-ownership.js";
import { planPreStart } from "./plan-pre-start.js";
import { planProtect, type ProtectOptions } from "./plan-protect.js";
import { type AnnotatedKey, type DiskKey, planOf, type Plan, type Step } from "./step.js";

export type AttachOptions = Pick<ProtectOptions, "now" | "newUuid">;

/**
 * Gives a guest one disk, encrypted: the running one at once, one that is shut off at its next start. A new volume gets
 * its LUKS header before the configuration names it, so that there is no moment at which a start of the guest would
 * write plaintext to it. Killed after any step, a further `attach` goes on from there. Pure.
 * @param guest with its persistent configuration
 * @throws DISK_EXISTS, VOLUME_BUSY, KEY_IN_USE, DISK_NOT_ENCRYPTED, and whatever a start or `protect` would refuse
 */
export function planAttach(guest: Guest, facts: AttachFacts, options: AttachOptions): Plan {
  const task = `cannot attach a disk to guest ${guest.name}`;
  refuseLive(task, facts);
  if (facts.kind === "configured" && facts.live === "same") return planOf();
  refuseUser(task, facts);
  const { preparing, opening } =
    facts.kind === "added"
      ? prepareAdded(guest, facts, options)
      : prepareConfigured(task, guest, facts, options.now);
  if (facts.live === "same" || facts.state === "stopped") return planOf(...preparing);
  return planOf(...preparing, opening, [{ kind: "attach-disk", disk: facts.disk.dev }]);
}

interface Prepared {
  readonly preparing: readonly (readonly Step[])[];
  /** What a running guest's host needs before it can be given the disk. */
  readonly opening: readonly Step[];
}

/** As `protect --now`, but the volume first and the configuration last. */
function prepareAdded(guest: Guest, facts: AddedDisk, options: AttachOptions): Prepared {
  const { disk, protect, bus, isConfigured } = facts;
  if (isConfigured && protect.known === undefined) throw plainInConfiguration(guest, facts);
  if (isImageTakenForRaw(facts)) throw imageTakenForRaw(guest, facts);
  if (protect.known === undefined && holdsData(protect)) throw notEmpty(guest, facts);
  const { stages } = planProtect(withDisk(guest, disk), [protect], { ...options, format: "now" });
  const steps = stages.flat();
  const only = (kind: Step["kind"]) => steps.filter((step) => step.kind === kind);
  const adding: Step[] = isConfigured
    ? []
    : [{ kind: "add-disk", disk: disk.dev, volume: disk.volume, ...(bus && { bus }) }];
  return {
    preparing: [only("store-key"), only("format"), only("activate-key"), adding, only("annotate")],
    opening: steps.flatMap((step) =>
      step.kind === "annotate" ? step.blocks.map((key) => opening(key, recordIn(steps, facts))) : [],
    ),
  };
}

function recordIn(steps: readonly Step[], { protect }: AddedDisk): KeyRecord {
  const stored = steps.find((step) => step.kind === "store-key");
  const record = stored?.record ?? protect.known?.record;
  if (record === undefined) throw new Error("a disk that is protected has a key");
  return record;
}

function opening({ disk, uuid, mapping }: AnnotatedKey, { encryption }: KeyRecord): Step {
  if (mapping === undefined) return { kind: "provide-secrets", secrets: [{ disk, uuid }] };
  return { kind: "open-mapping", disk, uuid, mapping: mapping.name, volume: mapping.volume, encryption };
}

/** As the guest's next start would. */
function prepareConfigured(task: string, guest: Guest, { fact }: ConfiguredDisk, now: Date): Prepared {
  if (fact.kind === "plain") throw notEncrypted(task, guest, fact);
  if (fact.key.kind === "unknown" && fact.request === undefined) throw foreign(task, fact);
  refuseSharedKey(task, keysOf(guest));
  const { stages } = planPreStart(guest, [fact], now);
  const opens = ({ kind }: Step) => kind === "provide-secrets" || kind === "open-mapping";
  return {
    preparing: stages.map((stage) => stage.filter((step) => !opens(step))),
    opening: stages.flat().filter(opens),
  };
}

function keysOf({ disks }: Guest): DiskKey[] {
  return Object.values(disks.mapping).flatMap(({ dev: disk, encryption_secret_uuid: uuid }) =>
    uuid === undefined ? [] : [{ disk, uuid }],
  );
}

function refuseLive(task: string, { disk, live }: AttachFacts): void {
  const { dev, volume } = disk;
  switch (live) {
    case "none":
    case "same":
      return;
    case "plain":
      throw new LuksmithError("DISK_EXISTS", {
        what: `${task}: it has disk ${dev} already, without encryption`,
        why: `it runs with ${volumeName(volume)} as it is`,
        hint: "detach it first, if the guest does not need it",
      });
    case "other":
      throw new LuksmithError("DISK_EXISTS", {
        what: `${task}: it runs with another disk ${dev}`,
        why: `its disk ${dev} is not ${volumeName(volume)}`,
        hint: "choose another device name, or detach that disk first",
      });
  }
}

function refuseUser(task: string, { disk, user }: AttachFacts): void {
  if (user === undefined) return;
  const what = `${task}: disk ${user.disk} of guest ${user.guest} has`;
  const hint = "detach that disk first; two guests that write to one volume destroy what is on it";
  switch (user.by) {
    case "volume":
      throw new LuksmithError("VOLUME_BUSY", { what: `${what} volume ${volumeName(disk.volume)}`, hint });
    case "key":
      throw new LuksmithError("KEY_IN_USE", {
        what: `${what} the key of volume ${volumeName(disk.volume)}`,
        why: "it has the same volume by another name, or a copy of it",
        hint,
      });
  }
}

/** The usual slip: a new image file whose format was not said. */
function isImageTakenForRaw({ disk: { volume }, protect: { probe } }: AddedDisk): boolean {
  const isRaw = volume.kind === "file" && volume.format === "raw";
  return isRaw && probe.kind === "data" && probe.signature === QCOW2_SIGNATURE;
}

function imageTakenForRaw(guest: Guest, { disk }: AddedDisk): LuksmithError {
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot attach a disk to guest ${guest.name}: ${volumeName(disk.volume)} is not empty`,
    why: `as a raw volume, it holds a ${QCOW2_SIGNATURE}`,
    hint: "if it is a new image: --format qcow2",
  });
}

function holdsData({ probe }: AddedDisk["protect"]): boolean {
  return probe.kind === "data" || probe.kind === "allocated";
}

/** The guest does not have it yet: what encrypts data where they are takes a disk of a guest. */
function notEmpty(guest: Guest, { disk, protect: { probe } }: AddedDisk): LuksmithError {
  const volume = volumeName(disk.volume);
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot attach disk ${disk.dev} to guest ${guest.name}: ${volume} is not empty`,
    why: `it holds ${(probe.kind === "data" && probe.signature) || "data"}, which formatting would destroy`,
    hint: "attach a new, empty disk, and copy the data inside the guest",
  });
}

function plainInConfiguration(guest: Guest, { disk }: AddedDisk): LuksmithError {
  return new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `cannot attach a disk to guest ${guest.name}: disk ${disk.dev} is in its configuration, and is not encrypted`,
    why: "attach gives a guest encrypted disks only",
    hint: plainHint(guest, disk.dev),
  });
}

function notEncrypted(task: string, guest: Guest, { disk, luks }: PlainDisk): LuksmithError {
  const { dev, volume, encrypted } = disk;
  if (encrypted) {
    return new LuksmithError("ENCRYPTION_BLOCK_FOREIGN", {
      what: `${task}: the encryption block of disk ${dev} is not ours`,
      why: "it names no secret by UUID",
      hint: "attach it with what encrypted it, or with virsh attach-device",
    });
  }
  if (luks?.key.kind === "found") {
    return new LuksmithError("ENCRYPTION_BLOCK_LOST", {
      what: `${task}: disk ${dev} is encrypted, but its encryption block is gone from the guest's configuration`,
      why: `${volumeName(volume)} has the LUKS header of key ${luks.uuid}`,
      hint: `put it back, and attach it: ${attachCommand(guest, dev, luks.volume)}`,
    });
  }
  return new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `${task}: disk ${dev} is not encrypted`,
    why: "attach gives a guest encrypted disks only",
    hint: plainHint(guest, dev),
  });
}

function plainHint(guest: Guest, dev: string): string {
  return `while the guest is shut off: ${protectCommand(guest, [dev])}; without encryption: virsh attach-device`;
}

function foreign(task: string, { disk, uuid }: AnnotatedDisk): LuksmithError {
  return new LuksmithError("KEY_NOT_FOUND", {
    what: `${task}: the encryption block of disk ${disk.dev} is not ours`,
    why: `it names key ${uuid}, which no keystore has`,
    hint: "if Luksmith encrypted the disk, bring back its key; if not, attach it with what did",
  });
}
