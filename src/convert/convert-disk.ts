import { mappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { MappingRequest } from "../encryption/encryption-provider.js";
import { PAYLOAD_OFFSET } from "../encryption/luks-header.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { Clock } from "../event/clock.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import { isMappingAnnotation } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { formatBytes } from "../plan/bytes.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import type { KeySession } from "../plan/key-session.js";
import { type Resources, StepPerformer } from "../plan/perform.js";
import type { Secret } from "../secret/secret.js";
import { canAllocate } from "../storage/storage-backend.js";
import { type PathVolume, volumeName } from "../storage/volume.js";
import type { VolumeLocks } from "../storage/volume-lock.js";
import type { ConversionNotes } from "./conversion-notes.js";
import { different, failed, tooSmall } from "./convert-errors.js";
import { type DiskEnd, mappedEnd, nativeEnd, plainEnd } from "./disk-end.js";
import { notedVolume, unmadeVolume } from "./note-converted.js";
import {
  type Counted,
  lastThatCounts,
  requireShutOff,
  requireSource,
  stampOf,
  startedMeanwhile,
} from "./guest-meanwhile.js";
import type { ConvertPlan } from "./plan-convert.js";
import { handOver } from "./hand-over.js";
import { notedOld } from "./old-content.js";
import { recordCopied } from "./record-copied.js";
import { lockSource } from "./source-lock.js";
import { isWritten, requireEmpty, requireTargetRoom } from "./target-room.js";
import { type CopyOptions, type CopyRequest, type Percent, VolumeCopier } from "./volume-copier.js";
import type { Watcher } from "./watcher.js";

export interface ConvertPorts {
  readonly resources: Resources;
  readonly session: KeySession;
  readonly runner: CommandRunner;
  readonly locks: VolumeLocks;
  readonly guestLocks: GuestLocks;
  readonly notes: ConversionNotes;
  readonly clock: Clock;
  readonly watcher: Watcher;
  /** Bytes a second at most. */
  readonly rate?: bigint | undefined;
}

/**
 * Copies the volume of a disk into a new one, encrypted otherwise or not at all, verifies it, and gives it to the guest in
 * the old one's place. Whatever happens, the old volume is only read, and until all was verified the guest's
 * configuration is as it was: killed at any instruction, a further call goes on. A new key is pending until the guest has
 * the new volume, and a pending key's volume was never given to it: that is why a half-written copy may be written
 * again. Of a plain volume, which has no key, a note says so.
 * @throws CONVERT_FAILED, and what keeps a step from being done
 */
export async function convertDisk(plan: ConvertPlan, ports: ConvertPorts): Promise<void> {
  const path = volumeName(plan.target.volume);
  // qemu-img inherits it: nobody else writes to the new volume while one that outlives us does
  await ports.locks.hold(`conversion into ${path}`, (lock) => new DiskConversion(plan, ports, lock).run());
}

class DiskConversion {
  readonly #performer: StepPerformer;
  readonly #copier: VolumeCopier;
  readonly #startedAt: string;
  /** Whether this very process has made the new volume, which reads as zeros where nothing was written. */
  #isNew = false;

  constructor(
    private readonly plan: ConvertPlan,
    private readonly ports: ConvertPorts,
    private readonly lock: number,
  ) {
    const { resources, session, runner, clock } = ports;
    this.#performer = new StepPerformer(plan.guest, resources, session);
    this.#copier = new VolumeCopier(runner);
    this.#startedAt = clock.now().toISOString();
  }

  async run(): Promise<void> {
    this.ports.resources.audit.requireWritable();
    await this.copyAndHand();
    // the old volume is closed by now: what a kill leaves open, the guest's next start closes, as it activates the key
    await this.activate();
  }

  private async copyAndHand(): Promise<void> {
    const since = await this.ports.guestLocks.watch(this.plan.guest);
    await using source = await this.openSource();
    // from here on no start of the guest can open the volume; one that began before is seen now
    const stamp = await stampOf(this.plan.source.volume);
    requireShutOff(await this.ports.resources.host.readGuest(this.plan.guest.id));
    await this.prepareTarget(source.size);
    {
      await using target = await this.openTarget();
      if (target.size < source.size) throw tooSmall(this.plan, target.size, source.size);
      await this.fill(source, target);
    }
    const counts = await lastThatCounts(this.plan, this.ports.guestLocks, { since, stamp });
    await this.hand({ since: counts, stamp });
  }

  private async openSource(): Promise<DiskEnd> {
    const { volume, key } = this.plan.source;
    if (key !== undefined && isMappingAnnotation(key.annotation)) {
      const { mapping: name, secretUuid: uuid, volume: mapped } = key.annotation;
      // the guest's own name: one that is left by a kill is closed by the guest's next start
      const request = { name, volume: mapped, uuid, spec: key.record.encryption, access: "read" } as const;
      return await this.openMapped({ ...request, ...this.owner() });
    }
    const { runner, session } = this.ports;
    const held = await lockSource(volume, this.lock, runner);
    try {
      const end =
        key === undefined
          ? await plainEnd(volume, runner)
          : await this.openNative(volume, session.passphrase(key.annotation.secretUuid), "source");
      return {
        ...end,
        async [Symbol.asyncDispose]() {
          await end[Symbol.asyncDispose]();
          await held[Symbol.asyncDispose]();
        },
      };
    } catch (thrown) {
      await held[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** A key, a volume and a header; what an earlier try has made is taken as it is. */
  private async prepareTarget(size: bigint): Promise<void> {
    const { target, key, allocate, steps, prove } = this.plan;
    if (isWritten(this.plan)) return;
    await requireTargetRoom(this.plan, size);
    if (this.plan.copy === "again") await this.note("copying");
    const undo = steps.store && (await this.#performer.perform(steps.store));
    try {
      if (allocate) await this.allocate(size);
      if (prove) await requireEmpty(target.volume, this.plan.backend);
      if (steps.format) await this.#performer.perform(steps.format);
    } catch (thrown) {
      // one that cannot be undone is found, and used, by the next try
      await undo?.().catch((failure: unknown) => {
        this.ports.resources.logger.error("could not undo a step", { error: asLuksmithError(failure) });
      });
      throw thrown;
    }
    if (this.plan.copy === "again") await this.note("copying", "with the new volume");
    if (key !== undefined) this.done(`formatted ${volumeName(target.volume)} under key ${key.record.uuid}`);
  }

  private async allocate(size: bigint): Promise<void> {
    const { target, backend, key } = this.plan;
    if (!canAllocate(backend)) throw new Error(`storage ${backend.type} makes no volumes`);
    const { volume, pool } = target;
    // storage of raw volumes adds room for a header, which a plain one has not
    const header = key === undefined && volume.format === "raw" ? BigInt(PAYLOAD_OFFSET) : 0n;
    const guestSize = size > header ? size - header : 0n;
    const made = await backend.allocate({ volume, guestSize, ...(pool === undefined ? {} : { pool }) });
    this.#isNew = true;
    this.done(`made ${volumeName(volume)} of ${formatBytes(made)}`);
  }

  private async openTarget(): Promise<DiskEnd> {
    const { key, target } = this.plan;
    const { volume } = target;
    if (key === undefined) return await plainEnd(volume, this.ports.runner);
    const uuid = keyUuidOf(key.record);
    if (key.provider === "native")
      return await this.openNative(volume, this.ports.session.passphrase(uuid), "target");
    const request = { name: mappingName(volume, uuid), volume, uuid, spec: key.record.encryption };
    return await this.openMapped({ ...request, ...this.owner() });
  }

  private async openNative(
    volume: PathVolume,
    passphrase: Secret,
    id: "source" | "target",
  ): Promise<DiskEnd> {
    const backend =
      id === "target" ? this.plan.backend : await this.ports.resources.storage.backendFor(volume);
    const probe = await backend.probe(volume, "header");
    if (probe.kind !== "luks")
      throw failed(this.plan, `its ${id === "target" ? "new " : ""}volume has lost its LUKS header`);
    await backend.testPassphrase(volume, passphrase);
    const size = await backend.guestSize(volume, probe.header);
    return await nativeEnd({ volume, backend, size, passphrase, id }, this.ports.runner);
  }

  private openMapped(request: MappingRequest): Promise<DiskEnd> {
    const { resources, runner, session } = this.ports;
    const { mappings, logger } = resources;
    return mappedEnd(request, session.passphrase(request.uuid), { mappings, logger, runner });
  }

  private async fill(source: DiskEnd, target: DiskEnd): Promise<void> {
    const request: CopyRequest = { source, target, size: source.size, lock: this.lock };
    if (this.plan.copy === "again") {
      const options: CopyOptions = { zeros: this.readsAsZeros ? "skip" : "write", rate: this.ports.rate };
      await this.long("copying", request.size, (percent) => this.#copier.copy(request, percent, options));
      this.done(`copied ${formatBytes(request.size)}`);
    }
    await Promise.all([source.settle(), target.settle()]);
    const answer = await this.long("verifying", request.size, (percent) =>
      this.#copier.compare(request, percent),
    );
    if (answer === "different") throw different(this.plan);
    this.done("verified that every byte is the same");
  }

  /** A raw volume that is encrypted reads as noise. */
  private get readsAsZeros(): boolean {
    const { key, target } = this.plan;
    return this.#isNew && (key === undefined || target.volume.format === "qcow2");
  }

  /** One change of the configuration. */
  private async hand(counted: Counted): Promise<void> {
    const { disk } = this.plan;
    const { resources, guestLocks } = this.ports;
    const { host } = resources;
    // what was edited elsewhere while it was copied is kept
    const guest = await host.readGuest(this.plan.guest.id);
    requireShutOff(guest);
    requireSource(guest, this.plan);
    // it may have run, and be shut off again
    if ((await guestLocks.watch(guest)) !== counted.since) throw startedMeanwhile(guest, disk);
    await this.note("verified", "with the new volume");
    await recordCopied(this.plan, resources.audit, "begins");
    try {
      await handOver(this.plan, guest, counted, { host, guestLocks });
    } catch (thrown) {
      // of a plain copy, nothing else tells that it must be made again
      if (asLuksmithError(thrown).code === "GUEST_CHANGED") await this.note("copying", "with the new volume");
      throw thrown;
    }
    this.done(`disk ${disk} in the guest's configuration is the new volume`);
    await recordCopied(this.plan, resources.audit, "done");
  }

  private async activate(): Promise<void> {
    const { disk, steps } = this.plan;
    if (steps.activate === undefined) return;
    try {
      await this.#performer.perform(steps.activate);
    } catch (thrown) {
      const task = `disk ${disk} is converted; the guest's next start activates its key`;
      throw asLuksmithError(thrown).within(task);
    }
  }

  private async note(state: ConversionNote["state"], what?: "with the new volume"): Promise<void> {
    const { guest, disk, source, target, key } = this.plan;
    const { runner } = this.ports;
    const isThere = what !== undefined || !this.plan.allocate;
    const made = await notedVolume(target.volume, key?.record.uuid, runner);
    this.ports.notes.write({
      version: 1,
      guest: { id: guest.id, name: guest.name },
      disk,
      old: await notedOld(source, state, runner),
      new: isThere ? made : unmadeVolume(made),
      state,
      startedAt: this.#startedAt,
    });
  }

  private async long<T>(task: string, bytes: bigint, work: (percent: Percent) => Promise<T>): Promise<T> {
    using progress = this.ports.watcher.begin(task, bytes);
    try {
      return await work(progress.percent);
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      if (error.code !== "TOOL_FAILED") throw error;
      throw failed(this.plan, `${task} failed`, error.why ?? error.message);
    }
  }

  private owner(): Pick<MappingRequest, "guest" | "disk"> {
    const { guest, disk } = this.plan;
    return { guest: { id: guest.id, name: guest.name }, disk };
  }

  private done(what: string): void {
    this.ports.watcher.done(what);
  }
}
