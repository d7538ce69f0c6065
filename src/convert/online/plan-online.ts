import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { MirrorTarget } from "../../host/disk-mirror.js";
import type { ConfiguredGuest } from "../../host/host-adapter.js";
import { keyUuidOf, newKeyRecord } from "../../keystore/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { OpeningKey, Step } from "../../plan/step.js";
import { canAllocate } from "../../storage/storage-backend.js";
import { volumeName } from "../../storage/volume.js";
import type { ConversionGoal } from "../conversion.js";
import type { OnlineFacts } from "./gather-online.js";
import { refuseTargetUser } from "../refuse-target-user.js";
import { cannotConvertOnline, notEmpty, refuseDisk } from "./online-refusals.js";

/** What is to be done, as data without secrets. */
export interface OnlinePlan {
  readonly guest: ConfiguredGuest;
  readonly disk: string;
  readonly facts: OnlineFacts;
  readonly mirror: MirrorTarget;
  /**
   * `prepare`: from the beginning. `copy`: an earlier call's copy goes on. `given`: the guest has the new volume, and the
   * earlier call was cut short after that.
   */
  readonly from: "prepare" | "copy" | "given";
  /** Whether the volume must be made. */
  readonly allocate: boolean;
  /** Of the new volume; absent for a plain one. */
  readonly record?: KeyRecord;
  /** Of the old volume; absent for a plain one. */
  readonly oldUuid?: KeyUuid;
  readonly steps: {
    readonly store?: Step;
    readonly format?: Step;
    readonly provide?: Step;
    /** When the guest has the new volume. */
    readonly activate?: Step;
  };
}

export interface OnlineOptions {
  readonly dev: string;
  readonly goal: ConversionGoal;
  readonly now: Date;
  readonly newUuid: () => KeyUuid;
}

/** Pure. @throws what speaks against it: nothing was changed */
export function planOnline(facts: OnlineFacts, { dev, goal, now, newUuid }: OnlineOptions): OnlinePlan {
  refuseDisk(dev, facts);
  const { guest, target, live, state } = facts;
  const path = volumeName(target.volume);
  const isGiven = live !== undefined && volumeName(live.volume) === path;
  const from = isGiven ? "given" : state.kind === "none" ? "prepare" : "copy";
  if (from === "prepare") {
    const { user, known } = facts;
    refuseTargetUser(cannotConvertOnline(guest, dev), { user, path, key: known?.record.uuid });
  }
  requireKey(dev, facts, goal, from);
  const allocate = from === "prepare" && facts.probe?.kind === "absent";
  if (from === "prepare") requireUsable(dev, facts, goal, allocate);
  const record = goal.to === "plain" ? undefined : (facts.known?.record ?? recordOf());
  const oldUuid = from === "given" ? facts.noted?.oldKey : live?.encryption_secret_uuid;
  return {
    ...{ guest, disk: dev, facts, from, allocate },
    mirror: { volume: target.volume, ...(record && { secretUuid: keyUuidOf(record) }) },
    ...(record && { record }),
    ...(oldUuid && { oldUuid }),
    steps: goal.to === "plain" || record === undefined ? {} : stepsOf(),
  };

  function recordOf(): KeyRecord {
    if (goal.to === "plain") throw new Error("a plain volume has no key");
    return newKeyRecord({ uuid: newUuid(), guest, disk: dev, volume: path, request: goal.request, now });
  }

  function stepsOf(): OnlinePlan["steps"] {
    if (goal.to === "plain" || record === undefined) return {};
    const keystore = facts.known?.keystore ?? goal.request.keystore;
    const secret: OpeningKey = { disk: dev, uuid: keyUuidOf(record) };
    return {
      ...(facts.known === undefined && { store: { kind: "store-key", keystore, record } }),
      ...(from === "prepare" && { format: { kind: "format", disk: dev, volume: target.volume, record } }),
      provide: { kind: "provide-secrets", secrets: [secret] },
      ...(record.state === "pending" && { activate: { kind: "activate-key", keystore, record } }),
    };
  }
}

/** Of a volume that is open already, its key must be at hand, and of one that is copied to it must be pending. */
function requireKey(dev: string, facts: OnlineFacts, goal: ConversionGoal, from: OnlinePlan["from"]): void {
  const { guest, provider, known } = facts;
  const what = cannotConvertOnline(guest, dev);
  if (goal.to === "plain") return;
  if (provider?.name !== "native") {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${what}: the new volume would be decrypted by dm-crypt`,
      why: "a running guest's QEMU copies only to what it opens by itself",
      hint: "choose --engine native and format luks, or shut the guest down and run it again",
    });
  }
  if (known === undefined && from !== "prepare") {
    throw new LuksmithError("KEY_NOT_FOUND", {
      what: `${what}: no keystore has the key of ${volumeName(facts.target.volume)}`,
      hint: "restore the key record from a backup of the keystore; nothing was changed",
    });
  }
}

/** @throws VOLUME_UNSUPPORTED, VOLUME_UNREADABLE, VOLUME_NOT_EMPTY */
function requireUsable(dev: string, facts: OnlineFacts, goal: ConversionGoal, allocate: boolean): void {
  const { guest, target, backend, probe, known, noted } = facts;
  const what = `${cannotConvertOnline(guest, dev)} into ${volumeName(target.volume)}`;
  const isMakeable = goal.to === "plain" ? target.volume.kind === "file" : canAllocate(backend);
  if (allocate && !isMakeable) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${what}: it does not exist`,
      why: `Luksmith cannot make ${goal.to === "plain" ? "plain " : ""}volumes on storage ${backend.type}`,
      hint: "make it with the storage's own tools, and say --to again",
    });
  }
  // a plain volume that an earlier call has made may hold anything of the disk, a LUKS header in it as well
  if (goal.to === "plain" && noted?.target === "made" && probe?.kind !== "unreadable") return;
  switch (probe?.kind) {
    case undefined:
    case "absent":
      return;
    case "unreadable":
      throw new LuksmithError("VOLUME_UNREADABLE", { what, why: probe.reason });
    case "luks":
      if (goal.to === "encrypted" && known?.record.state === "pending" && belongsHere(dev, facts)) return;
      throw notEmpty(
        dev,
        facts,
        `it has LUKS UUID ${probe.header.uuid}, which is not that of an earlier try`,
      );
    case "bad-luks":
      if (goal.to === "encrypted" && probe.claimedUuid === known?.record.uuid && known !== undefined) return;
      throw notEmpty(dev, facts, `it has a LUKS header that cannot be used: ${probe.reason}`);
    case "data":
      throw notEmpty(dev, facts, `it holds ${probe.signature ?? "data"}`);
    case "empty":
    case "allocated":
      // a name that nobody said may be somebody's; what is written to is proven empty before
      if (target.isNamed || known !== undefined || noted !== undefined) return;
      throw notEmpty(dev, facts, "nobody said that it may be used");
  }
}

function belongsHere(dev: string, { guest, target, known }: OnlineFacts): boolean {
  const record = known?.record;
  return record?.guest.id === guest.id && record.disk === dev && record.volume === volumeName(target.volume);
}
